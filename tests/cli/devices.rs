//! `andon devices` on whatever machine this is.

use crate::util::run::Dir;

#[test]
fn cameras_are_listed_or_their_absence_is_told() {
    let dir = Dir::new();
    let cameras = dir.andon(&["devices", "--json"]).run().json();
    let answer = dir.andon(&["devices"]).run();
    let text = answer.ok();
    match cameras.as_array().map(Vec::as_slice) {
        Some([]) => assert!(text.starts_with("no camera"), "{text}"),
        Some(all) => {
            for camera in all {
                let source = camera["source"].as_str().unwrap();
                assert!(source.starts_with("v4l2:/dev/"), "{source}");
                assert!(text.contains(source), "{source} in {text}");
            }
        }
        None => panic!("no array: {cameras}"),
    }
}
