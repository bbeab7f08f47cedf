//! `andon devices`: the cameras of this machine, with what to write into the configuration.

use std::fmt::Write;

use andon::{
    capture::v4l2::{self, ControlKind, ControlOffer, Device, FormatOffer, Range},
    geometry::Size,
};
use serde_json::{Value, json};

use super::{Outcome, output};

/// List the cameras: source to configure, formats, sizes, rates and controls
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print one JSON array
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let devices = v4l2::devices()?;
    if args.json {
        output::print_json(&devices.iter().map(device_json).collect::<Vec<_>>())?;
    } else if devices.is_empty() {
        output::print(NO_CAMERA)?;
    } else {
        output::print(&devices.iter().map(device_text).collect::<Vec<_>>().join("\n"))?;
    }
    Ok(Outcome::Done)
}

const NO_CAMERA: &str = "\
no camera found
  USB camera: check the cable and that `lsusb` lists it
  CSI camera: it comes in through its vendor's program, as source command:rpicam-vid … or command:gst-launch-1.0 …
  container: hand over /dev/video* (docker run --device)
  virtual machine: pass the camera through to it
";

/// What to write as `source` for this camera.
fn source(device: &Device) -> String {
    format!("v4l2:{}", device.path.display())
}

fn device_text(device: &Device) -> String {
    let mut text = format!("{}\n", device.name);
    let mut line = |key: &str, value: &str| {
        writeln!(text, "  {key:8}  {value}").expect("a string takes any text");
    };
    line("source", &source(device));
    line("node", &format!("{} ({}, {})", device.node.display(), device.driver, device.bus));
    for format in &device.formats {
        let mut key = format.fourcc.to_string();
        if format.pixel_format.is_none() {
            line(&key, &format!("{}: andon cannot read it", format.description));
            continue;
        }
        for (size, rates) in sizes_text(format) {
            line(&key, &format!("{size}{rates}"));
            key.clear();
        }
    }
    if !device.formats.iter().any(|format| format.pixel_format.is_some()) {
        line("note", "no format that andon reads; use a command source that converts, such as gst-launch-1.0");
    }
    for control in &device.controls {
        line(if control.name == device.controls[0].name { "controls" } else { "" }, &control_text(control));
    }
    text
}

/// Sizes and rates of a format, the sizes padded to one width.
fn sizes_text(format: &FormatOffer) -> Vec<(String, String)> {
    let width = format.sizes.iter().map(|offer| offer.size.to_string().chars().count()).max().unwrap_or_default();
    let row = |offer: &v4l2::SizeOffer| {
        let size = format!("{:width$}", offer.size.to_string());
        let rates: Vec<_> = offer.rates_hz().iter().map(|rate| rate_text(*rate)).collect();
        let between = matches!(offer.intervals, v4l2::Intervals::Between { .. }) && rates.len() == 2;
        let rates = match rates.len() {
            0 => String::new(),
            _ if between => format!("  {} down to {} Hz", rates[0], rates[1]),
            _ => format!("  {} Hz", rates.join(", ")),
        };
        (size, rates)
    };
    format.sizes.iter().map(row).collect()
}

/// A rate without needless decimals: 30, 29.97, 7.5.
fn rate_text(rate_hz: f64) -> String {
    ((rate_hz * 100.0).round() / 100.0).to_string()
}

fn control_text(control: &ControlOffer) -> String {
    let now = control.value.map(|value| format!(", now {value}")).unwrap_or_default();
    let range = match &control.kind {
        ControlKind::Integer => format!("{} to {}", control.min, control.max),
        ControlKind::Boolean => "0 or 1".to_owned(),
        ControlKind::Menu(entries) => {
            entries.iter().map(|(value, meaning)| format!("{value} {meaning}")).collect::<Vec<_>>().join(", ")
        }
        ControlKind::Button => "button".to_owned(),
        ControlKind::Bitmask => "bits".to_owned(),
    };
    let state = match (control.read_only, control.inactive) {
        (true, _) => ", read only",
        (false, true) => ", ruled by another control now",
        (false, false) => "",
    };
    format!("{}: {range}{now}{state}", control.name)
}

fn device_json(device: &Device) -> Value {
    json!({
        "source": source(device),
        "node": device.node.display().to_string(),
        "name": device.name,
        "bus": device.bus,
        "driver": device.driver,
        "formats": device.formats.iter().map(format_json).collect::<Vec<_>>(),
        "controls": device.controls.iter().map(control_json).collect::<Vec<_>>(),
    })
}

fn format_json(format: &FormatOffer) -> Value {
    let sizes = format.sizes.iter().map(|offer| {
        let mut value = size_json(&offer.size);
        value["rates_hz"] = json!(offer.rates_hz());
        value
    });
    json!({
        "fourcc": format.fourcc.to_string(),
        "description": format.description,
        "readable": format.pixel_format.is_some(),
        "sizes": sizes.collect::<Vec<_>>(),
    })
}

/// `width` and `height`, or the grid that `min`, `max` and `step` span.
fn size_json(range: &Range) -> Value {
    let size = |size: Size| json!({"width": size.width, "height": size.height});
    if range.min == range.max {
        size(range.min)
    } else {
        json!({"min": size(range.min), "max": size(range.max), "step": size(range.step)})
    }
}

fn control_json(control: &ControlOffer) -> Value {
    let (kind, menu) = match &control.kind {
        ControlKind::Integer => ("integer", None),
        ControlKind::Boolean => ("boolean", None),
        ControlKind::Menu(entries) => ("menu", Some(entries)),
        ControlKind::Button => ("button", None),
        ControlKind::Bitmask => ("bitmask", None),
    };
    let mut value = json!({
        "name": control.name,
        "kind": kind,
        "min": control.min,
        "max": control.max,
        "step": control.step,
        "default": control.default,
        "value": control.value,
        "read_only": control.read_only,
        "inactive": control.inactive,
    });
    if let Some(entries) = menu {
        value["menu"] = entries.iter().map(|(value, meaning)| json!({"value": value, "meaning": meaning})).collect();
    }
    value
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use andon::{
        capture::v4l2::{FourCc, Interval, Intervals, SizeOffer},
        frame::PixelFormat,
    };

    use super::*;

    fn webcam() -> Device {
        let exactly = |width, height| Range::exactly(Size { width, height });
        let rates = |rates: &[f64]| Intervals::List(rates.iter().map(|rate| Interval::of_rate_hz(*rate)).collect());
        let sizes = vec![
            SizeOffer { size: exactly(640, 480), intervals: rates(&[30.0, 7.5]) },
            SizeOffer { size: exactly(1280, 720), intervals: Intervals::Unknown },
        ];
        let format = |fourcc: &[u8; 4], pixel_format| FormatOffer {
            fourcc: FourCc(u32::from_le_bytes(*fourcc)),
            description: "as the driver says".to_owned(),
            pixel_format,
            sizes: sizes.clone(),
        };
        Device {
            path: PathBuf::from("/dev/v4l/by-id/usb-Cam-index0"),
            node: PathBuf::from("/dev/video4"),
            name: "Cam".to_owned(),
            bus: "usb-1".to_owned(),
            driver: "uvcvideo".to_owned(),
            formats: vec![format(b"MJPG", Some(PixelFormat::Jpeg)), format(b"H264", None)],
            controls: Vec::new(),
        }
    }

    #[test]
    fn a_camera_is_a_block_of_lines() {
        assert_eq!(
            device_text(&webcam()),
            "Cam\n  \
               source    v4l2:/dev/v4l/by-id/usb-Cam-index0\n  \
               node      /dev/video4 (uvcvideo, usb-1)\n  \
               MJPG      640×480   30, 7.5 Hz\n            \
                         1280×720\n  \
               H264      as the driver says: andon cannot read it\n"
        );
    }

    #[test]
    fn a_camera_is_an_object() {
        let value = device_json(&webcam());
        assert_eq!(value["source"], "v4l2:/dev/v4l/by-id/usb-Cam-index0");
        assert_eq!(value["formats"][0]["sizes"][0], json!({"width": 640, "height": 480, "rates_hz": [30.0, 7.5]}));
        assert_eq!((&value["formats"][0]["readable"], &value["formats"][1]["readable"]), (&json!(true), &json!(false)));
    }

    #[test]
    fn a_grid_of_sizes_has_its_ends() {
        let [min, max, step] = [(16, 16), (1920, 1080), (2, 2)].map(|(width, height)| Size { width, height });
        let value = size_json(&Range { min, max, step });
        assert_eq!(value["max"], json!({"width": 1920, "height": 1080}));
    }
}
