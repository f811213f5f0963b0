//! The OpenAPI document, made from the table of routes.

use super::auth::Access;
use super::error::Error;
use super::routes::{Described, Route};
use crate::governance::Administration;
use axum::http::Method;
use std::collections::BTreeMap;
use utoipa::ToSchema;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, Content, InfoBuilder, OpenApi, OpenApiBuilder, Paths, Ref, RefOr, Required,
    ResponseBuilder, Schema,
};

const KEY: &str = "api_key";

/// Of these routes.
pub fn document<S>(routes: &[Route<S>], rules: &Administration) -> OpenApi {
    let mut paths = Paths::new();
    let mut schemas = BTreeMap::new();
    collect(&mut schemas, &Described::of::<Error>());
    for route in routes {
        for described in
            route.about.takes.iter().chain(route.about.gives.iter().filter_map(|(_, _, d)| d.as_ref()))
        {
            collect(&mut schemas, described);
        }
        let method = match route.method {
            Method::POST => HttpMethod::Post,
            Method::DELETE => HttpMethod::Delete,
            _ => HttpMethod::Get,
        };
        paths.add_path_operation(route.path, vec![method], operation(route, rules));
    }
    let components = ComponentsBuilder::new()
        .schemas_from_iter(schemas)
        .security_scheme(KEY, SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)))
        .build();
    let info = InfoBuilder::new()
        .title("Prokura")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("Every answer that is not a success has the shape `Error`."))
        .build();
    OpenApiBuilder::new().info(info).paths(paths).components(Some(components)).build()
}

fn collect(schemas: &mut BTreeMap<String, RefOr<Schema>>, described: &Described) {
    schemas.insert(described.name.clone(), described.schema.clone());
    schemas.extend(described.parts.iter().cloned());
}

fn operation<S>(route: &Route<S>, rules: &Administration) -> OperationBuilder {
    let about = &route.about;
    let mut operation = OperationBuilder::new().summary(Some(about.summary)).operation_id(Some(name(route)));
    for part in route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
        operation = operation.parameter(parameter(part, ParameterIn::Path, None));
    }
    for (name, what) in &about.headers {
        operation = operation.parameter(parameter(name, ParameterIn::Header, Some(what)));
    }
    for (name, what) in &about.query {
        operation = operation.parameter(parameter(name, ParameterIn::Query, Some(what)));
    }
    if let Some(body) = &about.takes {
        let body = RequestBodyBuilder::new()
            .content("application/json", refers_to(&body.name))
            .required(Some(Required::True))
            .build();
        operation = operation.request_body(Some(body));
    }
    if let Some(what) = about.file {
        let body = RequestBodyBuilder::new()
            .description(Some(what))
            .content("application/octet-stream", Content::default())
            .required(Some(Required::True))
            .build();
        operation = operation.request_body(Some(body));
    }
    for (status, what, shape) in &about.gives {
        let response = ResponseBuilder::new().description(*what);
        let response = match (shape, about.media) {
            (Some(shape), _) => response.content("application/json", refers_to(&shape.name)),
            (None, Some(media)) => response.content(media, Content::default()),
            (None, None) => response,
        };
        operation = operation.response(status.to_string(), response.build());
    }
    for (status, what) in errors(route) {
        let response =
            ResponseBuilder::new().description(what).content("application/json", refers_to(&Error::name()));
        operation = operation.response(status.to_string(), response.build());
    }
    match route.access {
        Access::Everybody => operation.description(Some("Without a key.")),
        Access::May(_) => operation
            .description(Some(format!("Roles: {}.", route.access.roles(rules).join(", "))))
            .security(SecurityRequirement::new(KEY, Vec::<String>::new())),
    }
}

/// The errors that follow from what a route is, and those that it adds.
fn errors<S>(route: &Route<S>) -> BTreeMap<u16, &'static str> {
    let mut errors = BTreeMap::new();
    if let Access::May(_) = route.access {
        errors.insert(401, "no valid API key");
        errors.insert(403, "the key's role may not use this route");
        errors.insert(503, "the store failed, or the request took too long");
    }
    if route.about.takes.is_some() {
        errors.insert(400, "the body is not as documented");
        errors.insert(413, "the body or a text in it is too long");
        errors.insert(415, "the body is not application/json");
    }
    if route.about.file.is_some() {
        errors.insert(400, "the query is not as documented, or the file did not come to its end");
        errors.insert(413, "the file is too large");
        errors.insert(415, "no format is known by the name's ending, or the body is a form");
        errors.insert(422, "the file cannot be read, or is no document that can be taken");
    }
    if !route.about.query.is_empty() {
        errors.insert(400, "the query is not as documented");
    }
    if route.path.contains('{') {
        errors.insert(404, "there is no such thing, or none that the caller may know of");
    }
    errors.extend(route.about.refuses.iter().copied());
    errors
}

fn name<S>(route: &Route<S>) -> String {
    let words = route.path.split(['/', '{', '}', '.']).filter(|word| !word.is_empty() && *word != "v1");
    let path: Vec<&str> = words.collect();
    format!("{}_{}", route.method.as_str().to_ascii_lowercase(), path.join("_"))
}

fn parameter(name: &str, place: ParameterIn, what: Option<&str>) -> Parameter {
    let required = if place == ParameterIn::Path { Required::True } else { Required::False };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .description(what)
        .schema(Some(ObjectBuilder::new().schema_type(Type::String).build()))
        .build()
}

fn refers_to(name: &str) -> Content {
    Content::new(Some(Ref::from_schema_name(name)))
}

#[cfg(test)]
mod tests {
    use super::super::routes::table;
    use super::*;
    use serde_json::Value;
    use std::collections::BTreeSet;

    fn json() -> Value {
        serde_json::to_value(document(&table(), &crate::governance::shipped_administration())).unwrap()
    }

    #[test]
    fn every_route_is_in_the_document_with_an_answer() {
        let document = json();
        let table = table();
        assert!(table.len() >= 15);
        for route in &table {
            let method = route.method.as_str().to_ascii_lowercase();
            let operation = &document["paths"][route.path][&method];
            let responses = operation["responses"].as_object().unwrap();
            let success = |status: &&String| status.starts_with('2');
            assert!(responses.keys().any(|status| success(&status)), "{method} {}", route.path);
            assert!(!route.about.summary.is_empty());
            let open = matches!(route.access, Access::Everybody);
            assert_eq!(open, operation.get("security").is_none(), "{}", route.path);
        }
        let names: BTreeSet<String> = table.iter().map(name).collect();
        assert_eq!(names.len(), table.len(), "operation ids differ");
    }

    #[test]
    fn the_contracts_routes_are_there() {
        let document = json();
        for (method, path) in [
            ("post", "/v1/cases"),
            ("get", "/v1/cases"),
            ("post", "/v1/cases/{id}/messages"),
            ("get", "/v1/cases/{id}"),
            ("get", "/v1/cases/{id}/trace"),
            ("get", "/v1/cases/{id}/events"),
            ("post", "/v1/understand"),
            ("post", "/v1/search"),
            ("get", "/v1/approvals"),
            ("get", "/v1/reviews"),
            ("get", "/v1/reviews/{id}"),
            ("post", "/v1/reviews/{id}"),
            ("get", "/v1/autonomy"),
            ("post", "/v1/autonomy"),
            ("post", "/v1/stops"),
            ("post", "/v1/stops/start"),
            ("post", "/v1/approvals/{id}/decision"),
            ("get", "/v1/policies"),
            ("get", "/v1/policies/documents"),
            ("post", "/v1/policies/documents"),
            ("delete", "/v1/policies/documents/{id}"),
            ("post", "/v1/policies/preview"),
            ("post", "/v1/policies/validate"),
            ("post", "/v1/policies/rollback"),
            ("get", "/v1/policies/diff"),
            ("get", "/v1/policies/verify"),
            ("post", "/v1/policies/test"),
            ("post", "/v1/policies/forget"),
            ("get", "/healthz"),
            ("get", "/readyz"),
            ("get", "/openapi.json"),
        ] {
            assert!(document["paths"][path][method].is_object(), "{method} {path}");
        }
    }

    #[test]
    fn a_file_is_described_by_its_bytes() {
        let document = json();
        let upload = &document["paths"]["/v1/policies/documents"]["post"];
        assert!(upload["requestBody"]["content"]["application/octet-stream"].is_object(), "{upload}");
        for status in ["400", "403", "409", "413", "415", "422"] {
            assert!(upload["responses"][status].is_object(), "{status}");
        }
        let named: Vec<&str> =
            upload["parameters"].as_array().unwrap().iter().filter_map(|one| one["name"].as_str()).collect();
        let fields = crate::policy::document::KEYS;
        assert!(["name", "force"].into_iter().chain(fields).all(|name| named.contains(&name)), "{named:?}");
    }

    #[test]
    fn every_reference_resolves() {
        fn references(value: &Value, found: &mut BTreeSet<String>) {
            match value {
                Value::Object(members) => {
                    if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
                        found.insert(reference.to_owned());
                    }
                    members.values().for_each(|member| references(member, found));
                }
                Value::Array(items) => items.iter().for_each(|item| references(item, found)),
                _ => {}
            }
        }
        let document = json();
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        assert!(found.len() > 5);
        for reference in found {
            let pointer = reference.trim_start_matches('#');
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }
}
