use super::super::{EvidenceSettings, ToolRisk};
use super::*;
use crate::planning::Risk;

const LEAF: &str = "double_charge";
const TOOL: &str = "refund";

fn autonomy(level: &str, more: &str) -> Autonomy {
    let leaves = [LEAF, "fee", "lost_card"].map(str::to_owned).into();
    let tool = |name: &str, risk| ToolRisk { name: name.into(), risk, restores_access: false };
    let tools = [tool(TOOL, Risk::Money), tool("block", Risk::Protective)];
    let text = format!(
        "[evidence]\nfalse_alarm_every = 200\n[[dial]]\nleaf = '{LEAF}'\ntool = '{TOOL}'\nlevel = '{level}'\nmax_error = 0.1\n\
         limit = {{ minor = 1, currency = 'EUR' }}\n[[dial]]\nleaf = 'lost_card'\ntool = 'block'\nlevel = 'auto'\n\
         evidence = 'none'\nreason = 'must not wait'\n{more}"
    );
    Autonomy::parse("autonomy.toml", &text, &leaves, &tools).unwrap_or_else(|found| panic!("{found:?}"))
}

fn model() -> Digest {
    Digest::of(b"model")
}

/// A book, and who writes into it.
#[derive(Default)]
struct Desk {
    book: Book,
    drawn: u64,
}

impl Desk {
    fn write(&mut self, event: DialEvent) {
        self.book.apply(event, self.book.length, Timestamp::from_millis(0));
    }

    fn draw(&mut self, leaf: &str, source: Option<Source>) -> String {
        self.drawn += 1;
        let review = format!("rev_{}", self.drawn);
        let call = source.map(|_| CallId::new(format!("c{}", self.drawn)));
        self.write(DialEvent::Drawn(Draw {
            review: review.clone(),
            case: CaseId::new(format!("case_{}", self.drawn)),
            seq: 3,
            leaf: leaf.to_owned(),
            tool: call.as_ref().map(|_| TOOL.to_owned()),
            call,
            source,
            confidence: 9_800,
            model: model(),
        }));
        review
    }

    fn say(&mut self, review: &str, by: &str, leaf: &str, act: bool) {
        let (review, by, leaf) = (review.to_owned(), by.to_owned(), leaf.to_owned());
        self.write(DialEvent::Reviewed { review, by, leaf, act });
    }

    /// Reviews of calls, answered by somebody who sees what the message is about.
    fn reviewed(&mut self, by: &str, source: Source, right: usize, wrong: usize) {
        for at in 0..right + wrong {
            let review = self.draw(LEAF, Some(source));
            self.say(&review, by, if at < right { LEAF } else { "fee" }, true);
        }
    }

    /// Cases that nothing was proposed for.
    fn others(&mut self, by: &str, said: &str) {
        for _ in 0..LEAST_OTHERS {
            let review = self.draw("fee", None);
            self.say(&review, by, said, false);
        }
    }

    fn row(&self, autonomy: &Autonomy) -> Row {
        self.book.dials(autonomy, &model()).rows[&(LEAF.to_owned(), TOOL.to_owned())].clone()
    }

    fn settle(&mut self, autonomy: &Autonomy) -> Vec<DialEvent> {
        let mut all = Vec::new();
        loop {
            let news = self.book.news(autonomy, &model());
            if news.is_empty() {
                return all;
            }
            for event in news {
                all.push(event.clone());
                self.write(event);
            }
        }
    }

    fn turn(&mut self, autonomy: &Autonomy, level: Level, by: &str) -> Result<(), DialRefused> {
        let (leaf, tool) = (LEAF.to_owned(), TOOL.to_owned());
        let asked = Asked { leaf, tool, level, by: by.to_owned(), reason: None };
        let event = self.book.asked(autonomy, &model(), asked)?;
        self.write(event);
        Ok(())
    }
}

#[test]
fn reviews_carry_it_to_auto_and_errors_take_it_back_until_two_people_raise_it() {
    let autonomy = autonomy("auto", "");
    let mut desk = Desk::default();
    let before = desk.row(&autonomy);
    assert_eq!((before.effective, before.missing, before.reviewed), (Level::Suggest, 33, 0));
    assert!(before.why.contains("33 more without an error are needed for 95 % confidence"), "{}", before.why);
    desk.others("rita", "fee");
    desk.reviewed("rita", Source::Review, 32, 0);
    assert_eq!(desk.row(&autonomy).missing, 1);
    assert!(desk.settle(&autonomy).is_empty());
    desk.reviewed("rita", Source::Review, 1, 0);
    let row = desk.row(&autonomy);
    assert_eq!((row.effective, row.threshold, row.errors), (Level::Auto, Some(5_000), 0));
    assert!(row.bound <= 0.1 && row.why.contains("0 of 33 wrong"), "{}", row.why);
    let told = desk.settle(&autonomy);
    assert!(matches!(told.as_slice(), [DialEvent::Moved { level: Level::Auto, .. }]), "{told:?}");

    // Automatic calls go wrong: the evidence does not carry it any more, and then the figures take it back for good.
    desk.reviewed("rita", Source::Quality, 10, 0);
    let mut errors = 0;
    while !desk.row(&autonomy).demoted {
        desk.reviewed("rita", Source::Quality, 0, 1);
        errors += 1;
    }
    assert!((2..=8).contains(&errors), "{errors}");
    let told = desk.settle(&autonomy);
    assert!(told.iter().any(|event| matches!(event, DialEvent::Demoted { .. })), "{told:?}");
    let row = desk.row(&autonomy);
    assert_eq!(
        (row.effective, row.demoted, row.reviewed),
        (Level::Suggest, true, 0),
        "evidence of before is void"
    );
    assert!(row.why.contains("automatic calls were wrong") && row.why.contains("two people"), "{}", row.why);

    // Enough evidence of after it is not enough: two people, and not one of them twice.
    desk.reviewed("rita", Source::Review, 40, 0);
    assert_eq!(desk.row(&autonomy).effective, Level::Suggest);
    desk.turn(&autonomy, Level::Auto, "sara").unwrap();
    assert_eq!(desk.row(&autonomy).raising.as_deref(), Some("sara"));
    assert_eq!(desk.turn(&autonomy, Level::Auto, "sara"), Err(DialRefused::Alone("sara".into())));
    desk.turn(&autonomy, Level::Auto, "tom").unwrap();
    let row = desk.row(&autonomy);
    assert_eq!((row.effective, row.demoted, row.reviewed), (Level::Auto, false, 40));
}

#[test]
fn what_was_earned_and_is_not_carried_any_more_stays_back_too() {
    let autonomy = autonomy("auto", "");
    let mut desk = Desk::default();
    desk.others("rita", "fee");
    desk.reviewed("rita", Source::Review, 34, 0);
    desk.settle(&autonomy);
    desk.reviewed("rita", Source::Quality, 0, 2);
    assert_eq!(desk.row(&autonomy).effective, Level::Suggest, "at once");
    let told = desk.settle(&autonomy);
    assert!(matches!(&told[0], DialEvent::Demoted { why, .. } if why.contains("2 of 36 among")), "{told:?}");
    assert!(matches!(&told[1], DialEvent::Moved { level: Level::Suggest, .. }) && told.len() == 2);
    desk.reviewed("rita", Source::Review, 100, 0);
    assert_eq!(desk.row(&autonomy).effective, Level::Suggest, "two people first");
    // A model that nobody has measured earned nothing that could be taken back.
    let other = Digest::of(b"another model");
    assert!(desk.book.news(&autonomy, &other).is_empty());
}

#[test]
fn who_agrees_with_everything_raises_nothing() {
    let autonomy = autonomy("auto", "");
    // Says the same leaf of everything.
    let mut desk = Desk::default();
    desk.others("ria", LEAF);
    desk.reviewed("ria", Source::Review, 400, 0);
    let row = desk.row(&autonomy);
    assert_eq!((row.effective, row.reviewed, row.held), (Level::Suggest, 0, 400));
    // Has not been seen to tell anything apart.
    let mut desk = Desk::default();
    desk.reviewed("ria", Source::Review, 400, 0);
    assert_eq!((desk.row(&autonomy).reviewed, desk.row(&autonomy).held), (0, 400));
    // Would act always, whatever the message is about.
    let mut desk = Desk::default();
    desk.others("ria", "fee");
    for at in 0..200 {
        let review = desk.draw(LEAF, Some(Source::Review));
        desk.say(&review, "ria", ["fee", LEAF][at % 2], true);
    }
    assert_eq!((desk.row(&autonomy).effective, desk.row(&autonomy).errors), (Level::Suggest, 100));
    // Would never act: the call is not what they would do.
    let mut desk = Desk::default();
    desk.others("ria", "fee");
    (0..50).for_each(|_| {
        let review = desk.draw(LEAF, Some(Source::Review));
        desk.say(&review, "ria", LEAF, false);
    });
    assert_eq!(desk.row(&autonomy).errors, 50);
}

#[test]
fn one_that_nobody_likes_to_answer_holds_up_those_behind_it() {
    let autonomy = autonomy("auto", "");
    let mut desk = Desk::default();
    desk.others("rita", "fee");
    desk.reviewed("rita", Source::Review, 10, 0);
    let hard = desk.draw(LEAF, Some(Source::Review));
    desk.reviewed("rita", Source::Review, 90, 0);
    let row = desk.row(&autonomy);
    assert_eq!((row.reviewed, row.open, row.held, row.effective), (10, 1, 90, Level::Suggest));
    let mut gone = Desk { book: desk.book.clone(), drawn: desk.drawn };
    desk.say(&hard, "rita", "fee", false);
    assert_eq!((desk.row(&autonomy).reviewed, desk.row(&autonomy).errors), (101, 1));
    // An answer is given once.
    desk.say(&hard, "rita", LEAF, true);
    assert_eq!(desk.row(&autonomy).errors, 1);
    gone.write(DialEvent::Withdrawn { review: hard });
    assert_eq!(gone.row(&autonomy).reviewed, 100);
}

#[test]
fn labelled_lines_count_for_their_model_alone() {
    let autonomy = autonomy("auto", "");
    let mut desk = Desk::default();
    let measured = |wrong| Measured {
        model: model(),
        sets: BTreeMap::from([("test".to_owned(), 76)]),
        leaves: BTreeMap::from([(LEAF.to_owned(), vec![(9_900, 75, wrong), (5_500, 0, 40)])]),
    };
    desk.write(DialEvent::Evaluated(measured(1)));
    let row = desk.row(&autonomy);
    assert_eq!((row.effective, row.reviewed, row.errors), (Level::Auto, 76, 1));
    assert_eq!(row.threshold, Some(6_000), "below it too many are wrong");
    let other = Digest::of(b"another model");
    let place = (LEAF.to_owned(), TOOL.to_owned());
    assert_eq!(desk.book.dials(&autonomy, &other).rows[&place].effective, Level::Suggest);
    // Measured anew, the later one counts, and not both.
    desk.write(DialEvent::Evaluated(measured(30)));
    let row = desk.row(&autonomy);
    assert_eq!((row.effective, row.reviewed), (Level::Suggest, 105));
    assert!(desk.book.knows(&measured(30)) && !desk.book.knows(&measured(1)));
}

#[test]
fn one_person_turns_it_down_and_the_bank_says_how_far_up() {
    let own = autonomy("auto", "");
    let mut desk = Desk::default();
    desk.turn(&own, Level::Off, "sara").unwrap();
    assert_eq!(desk.row(&own).effective, Level::Off);
    assert_eq!(desk.turn(&own, Level::Off, "tom"), Err(DialRefused::Unchanged(Level::Off)));
    desk.turn(&own, Level::Suggest, "sara").unwrap();
    // Another wish is another first step.
    desk.turn(&own, Level::Auto, "tom").unwrap();
    assert_eq!(desk.turn(&own, Level::Auto, "tom"), Err(DialRefused::Alone("tom".into())));
    desk.turn(&own, Level::Auto, "sara").unwrap();
    let row = desk.row(&own);
    assert!(row.effective == Level::Suggest && row.missing > 0, "raising it gives no evidence");
    let suggested = autonomy("suggest", "");
    assert_eq!(desk.turn(&suggested, Level::Auto, "sara"), Err(DialRefused::NotLet(Level::Suggest)));
    let asked =
        Asked { leaf: "fee".into(), tool: TOOL.into(), level: Level::Off, by: "sara".into(), reason: None };
    assert!(matches!(desk.book.asked(&own, &model(), asked), Err(DialRefused::Unknown { .. })));
}

#[test]
fn what_needs_no_evidence_is_not_held_up_and_what_no_line_names_is_suggested() {
    let dials = Book::default().dials(&autonomy("auto", ""), &model());
    let block = dials.of("lost_card", "block");
    assert_eq!((block.level, block.threshold), (Level::Auto, None));
    assert_eq!(dials.of("fee", "block").level, Level::Suggest);
    // What was proposed goes as far as both of them.
    let proposed = |leaf: &str, plan: &str| {
        let open = Some(plan.to_owned());
        let circumstances = Circumstances { leaf: leaf.to_owned(), open, ..Circumstances::unknown() };
        dials.of_call(&circumstances, "block").level
    };
    assert_eq!(proposed("lost_card", "lost_card"), block.level);
    assert_eq!(proposed("lost_card", "fee"), Level::Suggest);
    assert_eq!(proposed("fee", "lost_card"), Level::Suggest);
    assert_eq!(dials.of("fee", "unheard_of").level, Level::Suggest);
    assert_eq!(EvidenceSettings::default().max_error, 0.01);
}

#[test]
fn leaves_of_a_pool_count_together() {
    let more = "[[dial]]\nleaf = 'fee'\ntool = 'refund'\nlevel = 'auto'\nmax_error = 0.1\nlimit = { minor = 1, currency = 'EUR' }\n\
                [[pool]]\ntool = 'refund'\nleaves = ['double_charge', 'fee']\nreason = 'r'\n";
    let autonomy = autonomy("auto", more);
    let mut desk = Desk::default();
    let leaves =
        BTreeMap::from([(LEAF.to_owned(), vec![(9_900, 20, 0)]), ("fee".to_owned(), vec![(9_900, 20, 0)])]);
    desk.write(DialEvent::Evaluated(Measured { model: model(), sets: BTreeMap::new(), leaves }));
    let row = desk.row(&autonomy);
    assert_eq!((row.effective, row.reviewed, row.pool.len()), (Level::Auto, 40, 2));
    assert_eq!(desk.book.dials(&autonomy, &model()).of("fee", TOOL).level, Level::Auto);
}
