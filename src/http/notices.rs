//! Events of the bank's other systems: what a case waits for, and what a case is opened for. The sender is whoever the key names.

use super::api::Api;
use super::auth::{Access, ApiKey};
use super::body::Given;
use super::error::Refusal;
use super::routes::Route;
use super::shapes::Noticed;
use crate::base::{CaseId, CustomerId, Language, MessageId, ids};
use crate::cases::{CaseError, Notice, Occurrence};
use crate::governance::{Act, Principal, Role};
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use utoipa::ToSchema;

/// Longest id and kind, in characters.
const LONGEST: usize = 200;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// The sender's own id of the event: the same one counts once. 1 to 200 visible characters.
    pub id: String,
    /// What happened, as plans name it in `event`. 1 to 200 visible characters.
    pub kind: String,
    /// The case, or the key of one of its calls. Left out where the event is about a customer who has not written.
    pub case: Option<String>,
    /// The customer whom it is about; a case is opened under the plan that has this kind as its `event`.
    pub customer: Option<String>,
    /// With `customer`: the channel that tells the customer, and that knows the case from then on.
    pub channel: Option<String>,
    /// With `customer`: the language of the texts. Default: that of the service.
    #[schema(value_type = Option<String>, pattern = "^(de|en)$")]
    pub language: Option<Language>,
}

pub fn routes() -> Vec<Route> {
    vec![
        Route::post(
            "/v1/events",
            Access::May(Act::TellEvent),
            "Tells what happened elsewhere: to the case that waits for it, or of a customer, for whom a case is opened.",
            tell,
        )
        .takes::<Told>()
        .gives::<Noticed>(200, "what came of it: late and repeated events change nothing")
        .refuses(404, "there is no such case, or no plan for such an event")
        .refuses(409, "another event of this id was told before"),
    ]
}

async fn tell(
    State(api): State<Arc<Api>>,
    Extension(who): Extension<Principal>,
    Given(told): Given<Told>,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let named = [("id", Some(&told.id)), ("kind", Some(&told.kind)), ("case", told.case.as_ref())];
    for (field, value) in named.into_iter().chain([("customer", told.customer.as_ref())]) {
        let fits = |value: &String| {
            (1..=LONGEST).contains(&value.chars().count()) && value.chars().all(|c| c.is_ascii_graphic())
        };
        if !value.is_none_or(fits) {
            let problem = format!("the field `{field}` is not 1 to {LONGEST} visible characters of ASCII");
            return Err(Refusal::bad("bad_body", &problem, "mend it and send the event again"));
        }
    }
    let cases = api.cases.clone();
    let about = about(&api, told)?;
    // Whoever hangs up must not leave a recorded event behind that nobody follows.
    let recorded = tokio::spawn(async move {
        let (case, notice) = match about {
            // A call's key begins with its case's id.
            About::Case { id, kind, case } => {
                let case = CaseId::new(case.rsplit_once(".c").map_or(case.as_str(), |(case, _)| case));
                let notice = cases.notify(&case, &who, (&id, &kind)).await?;
                (case, notice)
            }
            About::Customer(told) => {
                let ids = (CaseId::new(ids::fresh("case")), MessageId::new(ids::fresh("msg")));
                cases.occurred(ids, &who, told).await?
            }
        };
        cases.start(case.clone());
        Ok::<(CaseId, Notice), CaseError>((case, notice))
    });
    let (case, notice) = recorded.await.map_err(|error| Refusal::internal(&error))??;
    Ok((StatusCode::OK, Json(json!({ "case": case, "outcome": notice }))))
}

enum About {
    Case { id: String, kind: String, case: String },
    Customer(Occurrence),
}

fn about(api: &Api, told: Told) -> Result<About, Refusal> {
    let Told { id, kind, case, customer, channel, language } = told;
    match (case, customer, channel, language) {
        (Some(case), None, None, None) => Ok(About::Case { id, kind, case }),
        (None, Some(customer), Some(channel), language) => {
            let known = |key: &&ApiKey| key.principal.role == Role::Channel;
            let channels: BTreeSet<&str> =
                api.keys.iter().filter(known).map(|key| key.principal.name.as_str()).collect();
            if !channels.contains(channel.as_str()) {
                let known: Vec<&str> = channels.into_iter().collect();
                let remedy = format!("name one of {}", known.join(", "));
                return Err(Refusal::bad("bad_body", "`channel` is not a channel of this service", &remedy));
            }
            let (customer, language) = (CustomerId::new(customer), language.unwrap_or(api.limits.language));
            Ok(About::Customer(Occurrence { id, kind, customer, channel, language }))
        }
        _ => Err(Refusal::bad(
            "bad_body",
            "the event is not about one case or one customer",
            "give either `case`, or `customer` and `channel` (and `language`)",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::routes::table;

    #[test]
    fn a_system_tells_events_and_reaches_nothing_else() {
        let rules = crate::governance::shipped_administration();
        let reached: Vec<&str> = table()
            .into_iter()
            .filter(|route| route.access.roles(&rules).contains(&"system"))
            .map(|route| route.path)
            .collect();
        assert_eq!(reached, ["/v1/events"]);
    }
}
