//! One message through the whole pipeline, in this process.

use super::serve::DemoProcess;
use super::settings::Settings;
use super::{Failure, output, wire};
use crate::base::{CaseId, CustomerId, ids};
use crate::cases::{Incoming, staff_view};
use crate::cli::{Place, Resolve};
use crate::governance::{Principal, Role};
use crate::intake::{Assurance, Envelope, Identity, RawMessage, accept};
use std::io::Read;

/// The owner of acc_001 at the demonstration bank.
const DEMO_CUSTOMER: &str = "cus_001";

pub async fn resolve(place: &Place, options: Resolve) -> Result<(), Failure> {
    let mut settings = Settings::read(&place.config)?;
    let mut place = place.clone();
    let text = if options.text == "-" { stdin()? } else { options.text.clone().into_bytes() };
    // A demonstration leaves nothing behind, and does not get in the way of a running service.
    let mut demonstration = None;
    if options.demo {
        demonstration = Some(Demonstration::start(&mut place, &mut settings, &options.switches).await?);
        wire::index_if_missing(&place, &settings)?;
    }
    let engine = wire::engine(&place, &settings)?;
    engine.cases.parts().lookup.reload().await;
    let at = engine.cases.parts().clock.now();
    let customer = options.customer.as_deref().or(options.demo.then_some(DEMO_CUSTOMER));
    let identity = match (options.anonymous, options.claimed, customer) {
        (true, _, _) => Identity::Anonymous,
        (_, Some(from), _) => Identity::Claimed { from },
        (_, _, Some(customer)) => Identity::Verified {
            customer: CustomerId::new(customer),
            assurance: if options.assurance == "login" { Assurance::Login } else { Assurance::Sca },
            at,
        },
        _ => Identity::Anonymous,
    };
    let envelope = Envelope {
        id: crate::base::MessageId::new(ids::fresh("msg")),
        case: CaseId::new(ids::fresh("case")),
        channel: "command-line".to_owned(),
        identity,
        received_at: at,
    };
    let raw = RawMessage { text: &text, language: None, attachments: vec![] };
    let message = accept(&raw, envelope, &settings.limits()).map_err(Failure::input)?;
    let by = Principal::new("command-line", Role::Operator);
    let incoming = Incoming { by, message, token: None, key: None };
    let case = engine.cases.accept(incoming).await.map_err(Failure::input)?;
    let state = engine.cases.drive(&case).await.map_err(Failure::input)?;
    if options.json {
        output::json_pretty(&staff_view(&state))?;
    } else {
        let reply = state.replies.last().map_or("(no reply yet)", |reply| reply.text.as_str());
        output::line_out(reply)?;
        let path = state.plan.as_ref().map_or_else(String::new, |plan| plan.path.join(" > "));
        let leaf = state.plan.as_ref().map_or("none", |plan| plan.leaf.as_str());
        eprintln!("\n{} {}; plan {leaf}: {path}", state.case, state.status.as_str());
    }
    drop(engine);
    drop(demonstration);
    Ok(())
}

fn stdin() -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes).map_err(Failure::input)?;
    Ok(bytes)
}

/// The demonstration bank, for one command. It ends with this, before its state directory is removed.
pub struct Demonstration {
    _bank: DemoProcess,
    _state: Option<Throwaway>,
}

impl Demonstration {
    /// `settings` point to it; `place` to a state directory that is removed at the end, if none is named.
    pub async fn start(
        place: &mut Place,
        settings: &mut Settings,
        switches: &[String],
    ) -> Result<Self, Failure> {
        let mut state = None;
        if place.state.is_none() {
            let directory = Throwaway::new()?;
            // Its witness is beside it, and goes with it.
            place.state = Some(directory.0.join("state"));
            state = Some(directory);
        }
        let bank = DemoProcess::start(place, settings, None, switches).await?;
        bank.point(settings);
        Ok(Self { _bank: bank, _state: state })
    }
}

/// A state directory that is removed at the end.
struct Throwaway(std::path::PathBuf);

impl Throwaway {
    fn new() -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(ids::fresh("prokura"));
        std::fs::create_dir_all(&path)
            .map_err(|error| Failure::Input(format!("{}: {error}", path.display())))?;
        Ok(Self(path))
    }
}

impl Drop for Throwaway {
    fn drop(&mut self) {
        // Nothing depends on it; the system's own cleaning of temporary files is the second chance.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
