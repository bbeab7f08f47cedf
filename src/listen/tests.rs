//! Messages as a subscriber gets them, and what is made of them.

use super::*;

const EVENTS: &str = "andon/box/in/events";

struct Played {
    checker: Checker,
    now: Instant,
}

impl Played {
    fn new(from_start: bool) -> Self {
        let settings = Settings { prefix: "andon".into(), from_start, resend: true };
        Self { checker: Checker::new(settings), now: Instant::now() }
    }

    fn say(&mut self, topic: &str, body: &str) -> bool {
        self.checker.hear(topic, body.as_bytes(), false, self.now)
    }

    fn event(&mut self, epoch: u64, seq: u64) -> bool {
        self.say(EVENTS, &format!("{{\"device\":\"box\",\"epoch\":{epoch},\"seq\":{seq},\"replayed\":false}}"))
    }

    fn gap(&mut self, seq: u64, topic: &str, lost_epoch: u64, from: u64, to: u64) {
        let topic = if topic.is_empty() { String::new() } else { format!("\"topic\":\"{topic}\",") };
        let lost = format!("{topic}\"lost_epoch\":{lost_epoch},\"from\":{from},\"to\":{to},\"reason\":\"full\"");
        self.say("andon/box/gap", &format!("{{{lost},\"epoch\":1,\"seq\":{seq}}}"));
    }

    fn status(&mut self, state: &str, events: u64) {
        let topics = format!(
            "{{\"{EVENTS}\":{{\"epoch\":1,\"seq\":{events}}},\"andon/box/in/snapshot/#\":{{\"epoch\":1,\"seq\":9}}}}"
        );
        self.say("andon/box/status", &format!("{{\"state\":\"{state}\",\"topics\":{topics}}}"));
    }

    fn wait(&mut self, seconds: f64) -> Vec<Question> {
        self.now += Duration::from_secs_f64(seconds);
        self.checker.tick(self.now)
    }

    fn findings(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.checker.finding()).map(|finding| finding.to_string()).collect()
    }
}

#[test]
fn what_comes_in_order_is_complete() {
    let mut played = Played::new(false);
    assert!((5..=9).all(|seq| played.event(1, seq)));
    assert!(!played.event(1, 7), "it was seen");
    assert!(!played.event(1, 4), "it was before our time");
    assert!(played.checker.is_settled() && played.wait(60.0).is_empty());
    let summary = played.checker.summary();
    assert_eq!(summary, Summary { topics: 1, messages: 5, duplicates: 2, ..Summary::default() });
    assert!(summary.is_complete());
}

#[test]
fn a_gap_is_asked_for_and_what_comes_then_is_counted() {
    let mut played = Played::new(false);
    played.event(1, 1);
    played.event(1, 5);
    assert!(played.wait(0.5).is_empty());
    let questions = played.wait(0.5);
    let payload = r#"{"epoch":1,"from":2,"id":"listen-1","to":4,"topic":"andon/box/in/events"}"#;
    assert_eq!(questions, [Question { topic: "andon/box/cmd/resend".into(), payload: payload.into() }]);
    assert!(!played.checker.summary().is_complete());
    assert!((2..=4).all(|seq| played.event(1, seq)));
    let summary = Summary { topics: 1, messages: 5, gaps: 1, asked: 1, resent: 3, ..Summary::default() };
    assert_eq!(played.checker.summary(), summary);
    assert_eq!(
        played.findings(),
        ["missing   andon/box/in/events: 2 to 4 (epoch 1)", "filled    andon/box/in/events: 4 (epoch 1)"]
    );
}

#[test]
fn a_box_that_does_not_answer_is_not_asked_for_ever() {
    let mut played = Played::new(true);
    played.event(1, 3);
    let questions: usize = (0..300).map(|_| played.wait(0.5).len()).sum();
    assert_eq!(questions, 6);
    assert_eq!(played.checker.summary().lost, 2);
    assert!(played.findings().contains(&"lost      andon/box/in/events: 1 to 2 (epoch 1)".to_owned()));
}

#[test]
fn what_comes_behind_a_higher_number_unasked_is_an_inversion() {
    let mut played = Played::new(false);
    [1, 3, 2].into_iter().for_each(|seq| assert!(played.event(1, seq)));
    let summary = played.checker.summary();
    assert_eq!((summary.inversions, summary.lost, summary.is_complete()), (1, 0, false));
}

#[test]
fn retained_messages_are_state_and_nothing_else() {
    let mut played = Played::new(true);
    let counted = |seq: u64| format!("{{\"epoch\":1,\"seq\":{seq}}}");
    let total = "andon/box/in/total/boards";
    assert!(played.checker.hear(total, counted(700).as_bytes(), true, played.now));
    assert_eq!(played.checker.summary().topics, 0);
    assert!((1..=2).all(|seq| played.say(total, &counted(seq))));
    assert!(played.checker.summary().is_complete());
}

#[test]
fn losses_that_are_told_are_not_missed() {
    let mut played = Played::new(false);
    played.event(1, 1);
    played.event(1, 5);
    played.gap(1, EVENTS, 1, 2, 4);
    assert!(played.checker.is_settled());
    // Told before their place has come.
    played.gap(2, EVENTS, 1, 6, 9);
    played.event(1, 10);
    assert_eq!(played.checker.summary(), Summary { topics: 2, messages: 5, gaps: 1, told: 7, ..Summary::default() });
    // All of a numbering, whatever the topic.
    played.event(1, 12);
    played.gap(3, "", 1, 1, 1000);
    assert!(played.checker.is_settled() && played.checker.summary().is_complete());
    assert!(played.findings().contains(&"given up  andon/box/#: 1 to 1000 (epoch 1): full".to_owned()));
}

#[test]
fn a_box_that_lost_its_memory_tells_of_all_that_was_before() {
    let mut played = Played::new(false);
    played.event(1, 1);
    played.event(1, 4);
    played.status("online", 9);
    played.say("andon/box/gap", r#"{"lost_epoch":0,"from":0,"to":0,"reason":"damaged","epoch":2,"seq":1}"#);
    played.event(2, 1);
    assert!(played.checker.is_settled());
    assert_eq!((played.checker.summary().told, played.checker.summary().lost), (2 + 5, 0));
}

#[test]
fn what_the_box_cannot_send_again_is_lost_at_once() {
    let mut played = Played::new(false);
    played.event(1, 1);
    played.event(1, 9);
    assert_eq!(played.wait(1.0).len(), 1);
    let answer = format!("{{\"ok\":true,\"topic\":\"{EVENTS}\",\"epoch\":1,\"sent\":4,\"gone\":[[2,3],[5,6],[9,7]]}}");
    played.say("andon/box/cmd/resend/result", &answer);
    assert_eq!(played.checker.summary().lost, 7, "three of them are still missing");
    [4, 7, 8].into_iter().for_each(|seq| assert!(played.event(1, seq)));
    assert_eq!((played.checker.summary().lost, played.checker.summary().resent), (4, 3));
    assert!(played.findings().contains(&"lost      andon/box/in/events: 5 to 6 (epoch 1)".to_owned()));
}

#[test]
fn the_status_shows_what_is_lost_behind_the_last_message() {
    let mut played = Played::new(false);
    played.event(1, 3);
    played.status("online", 5);
    assert!(!played.checker.is_settled());
    assert!(played.wait(4.0).is_empty(), "it may still be on its way");
    assert!(played.wait(2.0).is_empty());
    assert_eq!(played.wait(1.0).len(), 1);
    played.event(1, 4);
    played.event(1, 5);
    assert!(played.checker.summary().is_complete() && played.checker.is_settled());
    // A status that overtakes its messages is no loss.
    played.status("online", 7);
    played.wait(1.0);
    played.event(1, 6);
    played.event(1, 7);
    assert_eq!((played.checker.summary().gaps, played.checker.summary().resent), (1, 2));
}

#[test]
fn a_box_that_is_away_is_not_asked() {
    let mut played = Played::new(false);
    played.event(1, 1);
    played.event(1, 3);
    played.status("offline", 3);
    assert!((0..100).all(|_| played.wait(1.0).is_empty()));
    played.status("online", 3);
    assert_eq!(played.wait(2.0).len(), 1, "and it is asked when it is back");
    assert_eq!(played.findings()[1..], ["device    box: offline".to_owned(), "device    box: online".to_owned()]);
}

#[test]
fn a_new_epoch_begins_at_one() {
    let mut played = Played::new(false);
    played.event(1, 41);
    played.event(2, 3);
    let summary = played.checker.summary();
    assert_eq!((summary.lost, summary.topics), (2, 2));
    assert_eq!(played.findings()[0], "new epoch andon/box/in/events: 3 (epoch 2)");
    // What is older is not a beginning.
    played.event(1, 42);
    assert_eq!(played.checker.summary().lost, 2);
}

#[test]
fn a_refusal_is_told_once() {
    let mut played = Played::new(false);
    for _ in 0..3 {
        played.say("andon/box/cmd/resend/result", r#"{"ok":false,"error":"not kept any more"}"#);
    }
    assert_eq!(played.findings(), ["refused   box: not kept any more"]);
}

#[test]
fn the_connection_that_is_lost_takes_questions_with_it() {
    let mut played = Played::new(false);
    played.event(1, 1);
    played.event(1, 3);
    for _ in 0..50 {
        played.checker.connected(played.now);
        assert!(played.wait(0.9).is_empty());
        assert_eq!(played.wait(0.2).len(), 1);
    }
    assert_eq!(played.checker.summary().lost, 1, "it is still missing, and not given up");
    assert!(!played.findings().iter().any(|finding| finding.starts_with("lost")));
}

#[test]
fn every_message_that_is_numbered_is_followed() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/wire");
    let mut kinds = std::collections::BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let (head, body) = text.split_once('\n').unwrap();
        let (topic, delivery) = head.split_once(' ').unwrap();
        if !delivery.contains("numbered: true") || topic.ends_with("/gap") {
            continue;
        }
        let mut played = Played::new(false);
        for seq in [1, 3, 3] {
            let numbered = body.trim_end().strip_suffix('}').unwrap();
            let is_news = played.say(topic, &format!("{numbered},\"epoch\":1,\"seq\":{seq},\"replayed\":false}}"));
            assert_eq!(is_news, played.checker.summary().duplicates == 0, "{topic}");
        }
        let summary = played.checker.summary();
        assert_eq!((summary.lost, summary.duplicates), (1, 1), "{topic}");
        kinds.insert(topic.split('/').nth(3).unwrap().to_owned());
    }
    assert_eq!(Vec::from_iter(kinds), ["alarm", "count", "events", "total", "verdict"]);
}

#[test]
fn what_is_none_of_ours_is_left_alone() {
    let mut played = Played::new(false);
    for (topic, body) in [
        ("other/box/in/events", r#"{"epoch":1,"seq":1}"#),
        ("andon", "{}"),
        ("andon/box", "{}"),
        ("andon/box/in/snapshot/7", "\u{ff}\u{d8}"),
        ("andon/box/in/events", "[1]"),
        ("andon/box/in/events", r#"{"epoch":-1,"seq":"x"}"#),
        ("andon/box/gap", r#"{"epoch":1,"seq":1,"lost_epoch":1,"from":9,"to":2}"#),
        ("andon/box/status", r#"{"topics":{"other/x":{"epoch":1,"seq":9}}}"#),
    ] {
        assert!(played.say(topic, body), "{topic}");
    }
    for seq in [u64::MAX, 0, u64::MAX - 1, 1] {
        played.event(1, seq);
        played.gap(seq, "", 1, seq, u64::MAX);
        played.wait(60.0);
    }
}
