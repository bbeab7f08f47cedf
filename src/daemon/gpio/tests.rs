//! The threads over a chip that is none: no kernel here knows one.

use std::sync::mpsc::{Receiver, channel};

use super::*;
use crate::{
    event::{Alarm, AlarmState, Deadline, Judgement, Priority, Verdict},
    outputs::fake::FakeChip,
    publish::clock::Reading,
};

const PATIENCE: Duration = Duration::from_secs(20);

const CONFIG: &str = "[device]\nid = \"box\"\n[model]\npath = \"m.onnx\"\n[[camera]]\nid = \"in\"\nsource = \"shots\"\n\
    [[rule]]\nid = \"eyes\"\nkind = \"blind\"\n\
    [[rule]]\nid = \"board\"\nkind = \"verdict\"\ntrigger = \"input\"\ninput = \"barrier\"\nreject_after = \"3 ticks\"\n\
    [[input]]\nid = \"barrier\"\nline = \"gpiochip0:0\"\n\
    [[input]]\nid = \"belt\"\nline = \"gpiochip0:1\"\nkind = \"encoder\"\n\
    [[output]]\nid = \"lamp\"\nline = \"gpiochip0:2\"\nkind = \"light\"\nblink = false\n\
    [[output]]\nid = \"gate\"\nline = \"gpiochip0:3\"\nkind = \"gate\"\nrule = \"board\"\npulse = 0.02\n\
    [[output]]\nid = \"relay\"\nline = \"gpiochip0:4\"\nkind = \"relay\"\n";

/// The lines of [`CONFIG`] on a chip that a test holds.
struct Bench {
    chip: FakeChip,
    timeline: Timeline,
    gpio: Option<Gpio>,
}

impl Bench {
    fn new() -> Self {
        Self::with(FakeChip::default())
    }

    fn with(chip: FakeChip) -> Self {
        let timeline = Timeline::new(Reading::now());
        let gpio = Gpio::start(&config(), timeline, Arc::new(chip.clone())).unwrap();
        Self { chip, timeline, gpio: Some(gpio) }
    }

    fn gpio(&self) -> &Gpio {
        self.gpio.as_ref().unwrap()
    }

    fn hearer(&self) -> Arc<dyn Hearer> {
        self.gpio().hearer().unwrap()
    }

    fn now(&self) -> Moment {
        self.timeline.moment(Instant::now())
    }

    fn becomes(&self, line: &str, level: bool) {
        let words = format!("{line} does not become {level}");
        wait_until(&words, || self.chip.state(line) == (true, level));
    }

    fn judge(&self, part: u64, deadline: Deadline) {
        let now = self.now();
        let verdict = Verdict {
            part,
            external_id: None,
            track: None,
            judgement: Judgement::Fail,
            opened_at: now,
            triggered_at: now,
            frames: 1,
            frames_bad: 1,
            defects: Vec::new(),
            deadline: Some(deadline),
            missed: false,
        };
        self.hearer().stands("in", "board", &What::Verdict(verdict));
    }

    /// All that holds the relay.
    fn is_well(&self) {
        self.hearer().sight("in", &Sight { sees: true, reason: String::new() });
        self.hearer().decided("in");
        self.gpio().looked_after();
    }

    fn heard(&self) -> Receiver<String> {
        let (sender, heard) = channel();
        let sender = Mutex::new(sender);
        self.gpio().attach(move |input| drop(sender.lock().unwrap().send(format!("{input:?}"))));
        heard
    }
}

fn config() -> Config {
    Config::from_toml(CONFIG, "andon.toml", std::iter::empty()).unwrap()
}

fn wait_until(words: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{words}");
        std::thread::yield_now();
    }
}

fn alarm(state: AlarmState) -> What {
    What::Alarm(Alarm {
        state,
        active: true,
        priority: Priority::Low,
        since: Moment::default(),
        raised_at: None,
        raises: 1,
        reason: String::new(),
        evidence: None,
        shelved_until: None,
    })
}

#[test]
fn outputs_follow_what_is_said_and_rest_at_the_end() {
    let mut bench = Bench::new();
    for line in ["gpiochip0:2", "gpiochip0:3", "gpiochip0:4"] {
        bench.becomes(line, false);
    }
    bench.hearer().stands("in", "eyes", &alarm(AlarmState::Acknowledged));
    bench.becomes("gpiochip0:2", true);
    bench.is_well();
    bench.becomes("gpiochip0:4", true);
    bench.hearer().sight("in", &Sight { sees: false, reason: "it is dark".to_owned() });
    bench.becomes("gpiochip0:4", false);
    bench.is_well();
    bench.becomes("gpiochip0:4", true);
    bench.gpio.take().unwrap().stop();
    for line in ["gpiochip0:2", "gpiochip0:3", "gpiochip0:4"] {
        assert_eq!(bench.chip.state(line), (false, false), "{line}");
    }
}

#[test]
fn without_frames_the_relay_falls_by_itself() {
    let bench = Bench::new();
    bench.is_well();
    bench.becomes("gpiochip0:4", true);
    bench.becomes("gpiochip0:4", false);
    let changes = bench.chip.changes("gpiochip0:4");
    let held = changes[1].0 - changes[0].0;
    assert!(held >= Duration::from_millis(1_900) && held < PATIENCE, "{held:?}: nobody looked after the cameras");
}

#[test]
fn a_gate_opens_at_its_moment() {
    let bench = Bench::new();
    bench.becomes("gpiochip0:3", false);
    let mut late = Vec::new();
    for part in 1..=20 {
        let due = Instant::now() + Duration::from_millis(30);
        bench.judge(part, Deadline::At(bench.timeline.moment(due)));
        bench.becomes("gpiochip0:3", true);
        let opened = bench.chip.changes("gpiochip0:3").last().unwrap().0;
        late.push(opened.checked_duration_since(due).expect("not before its time"));
        bench.becomes("gpiochip0:3", false);
    }
    late.sort();
    println!("late by {:?} (half of them), {:?} at most", late[10], late[19]);
    assert!(late[10] < Duration::from_millis(10), "{late:?}");
    assert_eq!(bench.chip.changes("gpiochip0:3").len(), 40);
}

#[test]
fn the_encoder_opens_the_gate_and_is_told_before_the_trigger() {
    let bench = Bench::new();
    let heard = bench.heard();
    let number =
        |text: String| -> u64 { text.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap() };
    let first = number(heard.recv_timeout(PATIENCE).unwrap());
    wait_until("the lines are not taken", || bench.chip.state("gpiochip0:0").0 && bench.chip.state("gpiochip0:1").0);
    bench.judge(1, Deadline::Ticks(first + 3));
    bench.chip.edges("gpiochip0:1", 2);
    assert_eq!(number(heard.recv_timeout(PATIENCE).unwrap()), first + 2, "edges that were lost count");
    assert!(bench.chip.changes("gpiochip0:3").is_empty());
    bench.chip.edges("gpiochip0:1", 1);
    bench.becomes("gpiochip0:3", true);
    assert_eq!(number(heard.recv_timeout(PATIENCE).unwrap()), first + 3);
    bench.chip.edges("gpiochip0:0", 1);
    assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), "Edge { input: \"barrier\" }");
}

#[test]
fn an_encoder_goes_on_beyond_that_of_an_earlier_process() {
    let bench = Bench::new();
    let before: u64 = bench.gpio().shared.ticks.load(Ordering::Relaxed);
    assert_eq!(i64::try_from(before).unwrap() / 1_000_000_000_000, bench.now().micros() / 1_000_000_000_000);
    drop(bench);
    let later = Bench::new();
    assert!(later.gpio().shared.ticks.load(Ordering::Relaxed) > before);
}

#[test]
fn a_line_that_is_missing_or_goes_is_said_and_taken_when_it_comes() {
    let chip = FakeChip::default();
    chip.break_line("gpiochip0:2", Some("it is away"));
    chip.break_line("gpiochip0:3", Some("it is away"));
    chip.break_line("gpiochip0:0", Some("it is busy"));
    let bench = Bench::with(chip);
    let said = [
        "output \"lamp\": line gpiochip0:2: it is away",
        "output \"gate\": line gpiochip0:3: it is away",
        "input \"barrier\": line gpiochip0:0: it is busy",
    ];
    wait_until("nothing is said", || bench.gpio().troubles() == said);
    bench.hearer().stands("in", "eyes", &alarm(AlarmState::Acknowledged));
    bench.chip.break_line("gpiochip0:2", None);
    bench.chip.break_line("gpiochip0:3", None);
    bench.chip.break_line("gpiochip0:0", None);
    bench.becomes("gpiochip0:2", true);
    wait_until("the input is not taken", || bench.chip.state("gpiochip0:0").0);
    wait_until("it is still said", || bench.gpio().troubles().is_empty());
    bench.chip.break_line("gpiochip0:2", Some("it is unplugged"));
    bench.chip.break_line("gpiochip0:1", Some("it is unplugged"));
    bench.hearer().stands("in", "eyes", &alarm(AlarmState::Normal));
    wait_until("it is not said", || bench.gpio().troubles().len() == 2);
}

#[test]
fn a_panic_leaves_no_output_active() {
    struct Panics(FakeChip);
    impl Lines for Panics {
        fn drive(&self, output: &Output) -> Result<Box<dyn Drive>, Trouble> {
            assert!(output.id == "lamp" || !self.0.state("gpiochip0:2").1, "the lamp is on");
            self.0.drive(output)
        }
        fn listen(&self, input: &outputs::Input) -> Result<Box<dyn Listen>, Trouble> {
            self.0.listen(input)
        }
        fn look(&self, line: &outputs::LineName) -> Result<String, Trouble> {
            self.0.look(line)
        }
    }
    let chip = FakeChip::default();
    chip.break_line("gpiochip0:3", Some("it is away"));
    let timeline = Timeline::new(Reading::now());
    let gpio = Gpio::start(&config(), timeline, Arc::new(Panics(chip.clone()))).unwrap();
    // The gate is tried again while the lamp is on, which fails the thread.
    gpio.hearer().unwrap().stands("in", "eyes", &alarm(AlarmState::Acknowledged));
    wait_until("it does not fail, or does not begin again", || chip.changes("gpiochip0:2").len() >= 4);
    gpio.stop();
    let levels: Vec<bool> = chip.changes("gpiochip0:2").into_iter().map(|(_, level)| level).collect();
    assert_eq!(levels[..4], [true, false, true, false]);
    assert_eq!(chip.state("gpiochip0:2"), (false, false));
}

#[test]
fn lines_that_stay_as_they_were_are_kept_over_a_reload() {
    let bench = Bench::new();
    assert!(bench.gpio().serves(&config()));
    for other in [CONFIG.replace("pulse = 0.02", "pulse = 0.03"), CONFIG.replace("gpiochip0:1", "gpiochip0:9")] {
        let other = Config::from_toml(&other, "andon.toml", std::iter::empty()).unwrap();
        assert!(!bench.gpio().serves(&other));
    }
}

#[test]
fn a_box_without_lines_has_no_threads_for_them() {
    let none = Config::from_toml("[device]\nid = \"box\"\n", "andon.toml", std::iter::empty()).unwrap();
    let gpio = Gpio::start(&none, Timeline::new(Reading::now()), Arc::new(FakeChip::default())).unwrap();
    assert!(gpio.hearer().is_none() && gpio.beats().is_empty() && gpio.troubles().is_empty());
}
