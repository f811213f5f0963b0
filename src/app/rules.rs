//! `prokura rules`: whether the rules keep what they must never break.

use super::settings::Settings;
use super::{Failure, output, wire};
use crate::base::Digest;
use crate::cases::{self, Pack};
use crate::cli::{Place, Prove, Rules as Asked};
use crate::governance::prove::{Judged, Report, Solver, Verdict, prove};
use crate::ledger::Digests;
use serde::Serialize;
use std::time::{Duration, Instant};

pub fn run(place: &Place, asked: &Asked) -> Result<(), Failure> {
    let settings = Settings::read(&place.config)?;
    let pack = wire::pack(&settings, None)?.pack;
    match asked {
        Asked::Prove(asked) => proven(&pack, asked).map(drop),
        Asked::Activate(asked) => {
            let report = proven(&pack, asked)?;
            let ledger = wire::ledger(&settings, &wire::state(place, &settings))?;
            let digests = Digests::from([("program".to_owned(), wire::program_digest()?)]);
            let proven: Vec<&str> =
                report.invariants.iter().map(|judged| judged.invariant.as_str()).collect();
            let told = (report.solver.as_str(), report.solver_digest.as_ref(), proven.as_slice());
            cases::note_proof(&ledger, &digests, &pack, told).map_err(Failure::input)
        }
    }
}

fn proven(pack: &Pack, asked: &Prove) -> Result<Report, Failure> {
    if pack.invariants.is_empty() || pack.administration_invariants.is_empty() {
        let problem = "the pack has no invariants, and a proof would say nothing: write them in rules/invariants and \
             administration/invariants";
        return Err(Failure::Check(problem.to_owned()));
    }
    let start = Instant::now();
    let solver = solver(asked);
    let both = prove(&pack.governance.rules, &pack.invariants, &solver).and_then(|calls| {
        let administration = pack.governance.administration.rules();
        Ok(calls.and("administration", prove(administration, &pack.administration_invariants, &solver)?))
    });
    let report = both.map_err(|error| Failure::Check(format!("nothing is proven: {error}")))?;
    let name = cases::proof_name(pack);
    if asked.json {
        output::json_pretty(&Told { proof: &name, report: &report })?;
    } else {
        shown(&report)?;
        let (questions, took, solver) = (report.queries, start.elapsed().as_millis(), &report.solver);
        output::line_out(&format!("{questions} questions, {took} ms, {solver}; proof {name}"))?;
    }
    match report.is_proven() {
        true => Ok(report),
        false => Err(Failure::Check("the rules are not proven to keep their invariants".to_owned())),
    }
}

#[derive(Serialize)]
struct Told<'a> {
    /// Over the rules, their schema and the invariants.
    proof: &'a Digest,
    #[serde(flatten)]
    report: &'a Report,
}

fn solver(asked: &Prove) -> Solver {
    let whole = Duration::from_secs(asked.seconds);
    let default = Solver::default();
    Solver { program: asked.solver.clone(), query: default.query.min(whole), whole, ..default }
}

fn shown(report: &Report) -> Result<(), Failure> {
    for Judged { invariant, reason, verdict } in &report.invariants {
        let line = |said: &str| output::line_out(&format!("{said:<11} {invariant}: {reason}"));
        match verdict {
            Verdict::Proven => line("proven")?,
            Verdict::Refuted { request, policies } => {
                line("REFUTED")?;
                output::line_out(&format!("  permitted by {}:", policies.join(", ")))?;
                request.lines().try_for_each(|said| output::line_out(&format!("    {said}")))?;
            }
            Verdict::Vacuous => {
                line("VACUOUS")?;
                output::line_out("  the rules in rules/invariants/broken that should break it keep it")?;
            }
            Verdict::Unknown { why } => {
                line("NOT PROVEN")?;
                output::line_out(&format!("  {why}"))?;
            }
        }
    }
    for (what, rules) in [
        ("no request matches", &report.dead),
        ("nothing would be decided otherwise without", &report.shadowed),
    ] {
        if !rules.is_empty() {
            output::line_out(&format!("{what}: {}", rules.join(", ")))?;
        }
    }
    Ok(())
}
