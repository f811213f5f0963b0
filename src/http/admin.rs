//! What is in force: tools, rules, models; and whether the log is what was written.

use super::api::Api;
use super::auth::Access;
use super::error::Refusal;
use super::routes::Route;
use super::shapes::{ModelsInForce, RulesInForce, ToolList, Verified};
use crate::acting::Condition;
use crate::governance::Act;
use crate::planning::{Compensation, ToolDeclaration};
use crate::understanding::UnderstandingError;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use std::sync::Arc;

pub fn routes() -> Vec<Route> {
    let everyone = Access::May(Act::SeeService);
    let auditors = Access::May(Act::SeeAudit);
    vec![
        Route::get("/v1/tools", everyone, "The tools that plans may call.", tools)
            .gives::<ToolList>(200, "their declarations"),
        Route::get("/v1/rules", everyone, "The rules in force.", rules)
            .gives::<RulesInForce>(200, "their digest"),
        Route::get(
            "/v1/models",
            everyone,
            "The model bundle in force, and those that are installed.",
            models,
        )
        .gives::<ModelsInForce>(200, "its digest, and a challenger's report where one reads along"),
        Route::get(
            "/v1/audit/verify",
            auditors,
            "Holds the whole log against its signed checkpoint.",
            verify,
        )
        .gives::<Verified>(200, "whether it is what was written"),
    ]
}

async fn tools(State(api): State<Arc<Api>>) -> Json<Value> {
    let acting = &api.cases.parts().acting;
    let tools = api.cases.pack().tools.by_name.values();
    let tools: Vec<Value> = tools.map(|declared| tool(declared, acting.condition(declared))).collect();
    Json(json!({"tools": tools}))
}

fn tool(tool: &ToolDeclaration, now: Condition) -> Value {
    let compensation = match &tool.compensation {
        Compensation::Tool(name) => json!({"tool": name}),
        Compensation::None { reason } => json!({"none": reason}),
    };
    json!({
        "name": tool.name,
        "purpose": tool.purpose,
        "system": tool.system,
        "path": tool.path,
        "scope": tool.scope,
        "risk": tool.risk,
        "limit": match tool.limits.as_slice() {
            [one] => Some(one),
            _ => None,
        },
        "limits": tool.limits,
        "restores_access": tool.restores_access,
        "free": tool.free,
        "breaker": now.breaker,
        "in_flight": now.in_flight,
        "parallel": tool.parallel,
        "stale_ms": tool.stale_ms,
        "idempotency_window_seconds": tool.idempotency.as_ref().map(|keys| keys.window_seconds),
        "timeout_ms": tool.timeout_ms,
        "retries": tool.retries,
        "on_ambiguous": tool.on_ambiguous,
        "compensation": compensation,
        "input": tool.input,
        "output": tool.output,
    })
}

async fn rules(State(api): State<Arc<Api>>) -> Json<Value> {
    let rules = &api.cases.pack().governance.rules;
    Json(json!({"digest": rules.digest(), "policies": rules.len()}))
}

async fn models(State(api): State<Arc<Api>>) -> Result<Json<Value>, Refusal> {
    let listed = tokio::task::spawn_blocking(move || {
        let models = &api.cases.parts().models;
        let installed = models.installed().list()?;
        let shadow = models.shadow().map(|shadow| shadow.report());
        Ok::<_, UnderstandingError>(json!({
            "digest": models.current().digest(),
            "installed": installed,
            "shadow": shadow,
            "fault": models.fault(),
            "shadow_fault": models.shadow_fault(),
        }))
    });
    let listed = listed.await.map_err(|error| Refusal::internal(&error))?;
    listed.map(Json).map_err(|error| Refusal::internal(&error))
}

async fn verify(State(api): State<Arc<Api>>) -> Result<Json<Value>, Refusal> {
    let checked = tokio::task::spawn_blocking(move || api.cases.parts().ledger.verify(&[], false));
    let found = checked.await.map_err(|error| Refusal::internal(&error))??;
    let intact = found.damage.is_none();
    Ok(Json(json!({
        "intact": intact, "damage": found.damage, "entries": found.entries, "signed": found.signed,
        "unsigned": found.unsigned,
    })))
}
