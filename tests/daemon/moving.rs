//! Things that move across a line while the daemon is killed or told to read other rules: each is counted once.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

use super::{
    rules::{COMMANDS, answer, retained},
    *,
};

/// Cells side by side; the line of the counter lies in the middle.
const COLUMNS: u32 = 16;
const ROWS: u32 = 8;

/// The rows in which one thing each moves, and what the counter calls them.
const LANES: [(u32, [u8; 3]); 2] = [(1, RED), (6, GREEN)];

const COUNT: &str = "andon/box/in/count/passed";

const COUNTER: &str =
    "[[rule]]\nid = \"passed\"\nkind = \"count\"\nline = [[0.5, 0], [0.5, 1]]\ndirection = \"right\"\n";

/// An alarm that stays until it is acknowledged.
const ALARM: &str =
    "[[rule]]\nid = \"green\"\nkind = \"alarm\"\nclasses = [\"green\"]\nwhen = \"1 of 1 frames\"\nlatch = true\n";

/// A camera on a socket. It shows the same to whoever looks, and goes on while nobody does.
pub(super) struct Scene {
    port: u16,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Scene {
    pub(super) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shown = Arc::new(Mutex::new(picture(None)));
        let camera = Arc::clone(&shown);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, camera) = (stream.unwrap(), Arc::clone(&camera));
                // It ends with an error when nobody looks any more.
                thread::spawn(move || film(stream, &camera));
            }
        });
        Self { port, shown }
    }

    /// Has the things stand in a column, or none there at all, and waits until the daemon has seen that twice.
    #[track_caller]
    pub(super) fn show(&self, column: Option<u32>, detections: &Subscriber) {
        *self.shown.lock().unwrap() = picture(column);
        self.wait_until_seen(column, detections);
    }

    /// Waits until the daemon has seen the things twice where they stand. That there are none is said once only.
    #[track_caller]
    pub(super) fn wait_until_seen(&self, column: Option<u32>, detections: &Subscriber) {
        for _ in 0..if column.is_some() { 2 } else { 1 } {
            detections.wait_for(SOON, &format!("things in column {column:?}"), |heard| {
                let message = json(heard);
                let found = message["detections"].as_array().unwrap();
                // The middle of a box that nothing cuts off.
                let middle = |item: &Value| {
                    (item["box"]["x1"].as_f64().unwrap() + item["box"]["x2"].as_f64().unwrap()) / 16.0 - 0.5
                };
                match column {
                    None => found.is_empty(),
                    Some(column) => {
                        found.len() == LANES.len()
                            && found.iter().all(|item| (middle(item) - f64::from(column)).abs() < 0.26)
                    }
                }
            });
        }
    }

    pub(super) fn configure(&self, line: &Line, port: u16, rules: &str) {
        let camera = format!("source = \"http://127.0.0.1:{}/\"\ntrack = true\nblind = []", self.port);
        line.configure(port, &camera, &format!("{COMMANDS}\n{rules}"));
    }
}

/// A picture with a thing in each lane.
fn picture(column: Option<u32>) -> Vec<u8> {
    let cells: Vec<_> =
        column.map(|column| LANES.map(|(row, colour)| (column, row, colour))).into_iter().flatten().collect();
    let mut bytes = Vec::new();
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 95);
    squares((COLUMNS * 8, ROWS * 8), &cells).write_with_encoder(encoder).unwrap();
    bytes
}

fn film(mut stream: TcpStream, shown: &Mutex<Vec<u8>>) -> std::io::Result<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n")?;
    loop {
        let picture = shown.lock().unwrap().clone();
        write!(stream, "--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", picture.len())?;
        stream.write_all(&[picture.as_slice(), b"\r\n"].concat())?;
        thread::sleep(Duration::from_millis(40));
    }
}

/// A line with a model that sees boxes of three cells, so that a thing overlaps with itself from cell to cell.
pub(super) fn wide_line(port: u16) -> Line {
    let line = Line::new(port, "");
    let input_size = [ROWS as usize * 8, COLUMNS as usize * 8];
    let options = TinyYolo { head: Head::EndToEnd, input_size, box_cells: 3, ..TinyYolo::default() };
    line.dir.tiny_yolo("squares.onnx", options);
    line
}

/// Waits until so many have come in ever, and says that no more have.
#[track_caller]
fn wait_for_count(counts: &Subscriber, wanted: u64) -> Value {
    json(&counts.wait_for(SOON, &format!("{wanted} counted"), |heard| {
        let ever = json(heard)["count"]["ever"]["in"].as_u64().unwrap();
        assert!(ever <= wanted, "more than {wanted} were counted: {heard:?}");
        ever == wanted
    }))
}

#[test]
fn counts_go_on_exactly_over_kills() {
    const WAVES: u64 = 5;
    if !mosquitto::is_installed() {
        return;
    }
    let broker = Mosquitto::start(Setup::default());
    let (scene, line) = (Scene::new(), wide_line(broker.port));
    scene.configure(&line, broker.port, COUNTER);
    let counts = broker.subscribe(COUNT);
    let detections = broker.subscribe("andon/box/in/detections");
    let mut daemon = line.start();
    let mut counted = 0;
    for wave in 0..WAVES {
        // Once before the line, right before it, right behind it, and far behind it.
        let kill_at = [3, 7, 8, 12, 14][wave as usize % 5];
        for column in 1..COLUMNS - 1 {
            scene.show(Some(column), &detections);
            if column == kill_at {
                // Things stand still while nobody looks.
                daemon.signal("KILL");
                daemon.wait();
                daemon = line.start();
                scene.wait_until_seen(Some(column), &detections);
            }
        }
        scene.show(None, &detections);
        counted += LANES.len() as u64;
        wait_for_count(&counts, counted);
    }
    // What crosses while the process is down was never seen to cross: it is missing, and nothing is counted twice for it.
    for column in 1..5 {
        scene.show(Some(column), &detections);
    }
    daemon.signal("KILL");
    daemon.wait();
    *scene.shown.lock().unwrap() = picture(Some(COLUMNS - 3));
    let _daemon = line.start();
    scene.wait_until_seen(Some(COLUMNS - 3), &detections);
    scene.show(None, &detections);
    for column in 1..COLUMNS - 1 {
        scene.show(Some(column), &detections);
    }
    scene.show(None, &detections);
    counted += LANES.len() as u64;
    let last = wait_for_count(&counts, counted);
    println!(
        "{counted} counted of {counted} that were seen to cross, over {} kills; of {} more that crossed while the process was \
         down none",
        WAVES + 1,
        LANES.len()
    );
    let kept = retained(&broker, COUNT);
    assert_eq!((&kept["count"], &kept["seq"]), (&last["count"], &last["seq"]));
    assert_eq!(kept["count"]["ever"]["out"], 0, "{kept}");
}

#[test]
fn a_reload_with_another_rule_leaves_counts_and_alarms_as_they_are() {
    if !mosquitto::is_installed() {
        return;
    }
    let broker = Mosquitto::start(Setup::default());
    let (scene, line) = (Scene::new(), wide_line(broker.port));
    let other = "[[rule]]\nid = \"red\"\nkind = \"alarm\"\nclasses = [\"red\"]\nwhen = \"1 of 1 frames\"\n";
    let alarms = |other: &str| format!("{COUNTER}{ALARM}{other}");
    scene.configure(&line, broker.port, &alarms(other));
    let (counts, alarm) = (broker.subscribe(COUNT), broker.subscribe("andon/box/in/alarm/green"));
    let red = broker.subscribe("andon/box/in/alarm/red");
    let detections = broker.subscribe("andon/box/in/detections");
    let daemon = line.start();
    for column in 1..5 {
        scene.show(Some(column), &detections);
    }
    let state = |heard: &Heard| json(heard)["alarm"]["state"].clone();
    let raised = json(&alarm.wait_for(SOON, "the alarm", |heard| state(heard) == "unacknowledged"));
    red.wait_for(SOON, "the other alarm", |heard| state(heard) == "unacknowledged");

    // In the middle of the way of the things.
    scene.configure(&line, broker.port, &alarms(&other.replace("\"red\"\nkind", "\"rot\"\nkind")));
    let rot = broker.subscribe("andon/box/in/alarm/rot");
    daemon.signal("HUP");
    rot.wait_for(SOON, "the new alarm", |heard| state(heard) == "unacknowledged");
    let taken_back = red.wait_for(SOON, "the other alarm is gone", |heard| heard.payload.is_empty());
    assert_eq!(taken_back.topic, "andon/box/in/alarm/red");
    scene.wait_until_seen(Some(4), &detections);
    for column in 5..COLUMNS - 1 {
        scene.show(Some(column), &detections);
    }
    scene.show(None, &detections);
    wait_for_count(&counts, LANES.len() as u64);
    let acknowledged = answer(&broker, "ack", "{\"rule\":\"green\"}");
    assert_eq!(acknowledged["ok"], true, "{acknowledged}");
    // The next thing that is heard of the alarm is what happened to it after the reload.
    let next = json(&alarm.next(SOON).unwrap());
    assert_eq!(next["seq"].as_u64(), raised["seq"].as_u64().map(|seq| seq + 1), "{next}");
    assert_ne!(next["alarm"]["state"], "unacknowledged", "{next}");
}
