//! A camera as nokhwa knows it, over our own stream.
//!
//! nokhwa is the interface for a camera's controls and for the formats that it has names for. Its own V4L2 backend waits
//! for ever on a stalled camera, hides sequence numbers, error flags and lengths, and does not open a device that was
//! left in a format it does not know; so this backend takes its place in [`nokhwa::Camera::with_custom`]. The pictures
//! themselves go past nokhwa, from the same [`Opened`], because they may have formats that it has no names for.

#![allow(unsafe_code, reason = "nokhwa's camera does not say that its backend may change threads; ours may")]

use std::{
    borrow::Cow,
    collections::HashMap,
    fmt::Display,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use nokhwa::{
    Buffer, Camera, NokhwaError,
    camera_traits::CaptureBackendTrait,
    utils::{
        ApiBackend, CameraControl, CameraFormat, CameraIndex, CameraInfo, ControlValueDescription, ControlValueSetter,
        FrameFormat, KnownCameraControl, KnownCameraControlFlag, Resolution,
    },
};
use v4l::v4l_sys as sys;

use super::{
    controls::{ControlKind, ControlOffer},
    formats::{FourCc, Interval, Wish, choose},
    opened::Opened,
    stream::Fault,
};
use crate::geometry::Size;

/// How long [`CaptureBackendTrait::frame`] waits for a picture; the trait leaves no room for a timeout of the caller's.
const FRAME_TIMEOUT: Duration = Duration::from_secs(2);

/// The formats that nokhwa has names for.
const NAMED: [(&[u8; 4], FrameFormat); 7] = [
    (b"MJPG", FrameFormat::MJPEG),
    (b"JPEG", FrameFormat::MJPEG),
    (b"YUYV", FrameFormat::YUYV),
    (b"NV12", FrameFormat::NV12),
    (b"GREY", FrameFormat::GRAY),
    (b"RGB3", FrameFormat::RAWRGB),
    (b"BGR3", FrameFormat::RAWBGR),
];

/// The controls that nokhwa has names for; all others go by their ids.
const KNOWN_CONTROLS: [(u32, KnownCameraControl); 15] = [
    (sys::V4L2_CID_BRIGHTNESS, KnownCameraControl::Brightness),
    (sys::V4L2_CID_CONTRAST, KnownCameraControl::Contrast),
    (sys::V4L2_CID_HUE, KnownCameraControl::Hue),
    (sys::V4L2_CID_SATURATION, KnownCameraControl::Saturation),
    (sys::V4L2_CID_SHARPNESS, KnownCameraControl::Sharpness),
    (sys::V4L2_CID_GAMMA, KnownCameraControl::Gamma),
    (sys::V4L2_CID_WHITE_BALANCE_TEMPERATURE, KnownCameraControl::WhiteBalance),
    (sys::V4L2_CID_BACKLIGHT_COMPENSATION, KnownCameraControl::BacklightComp),
    (sys::V4L2_CID_GAIN, KnownCameraControl::Gain),
    (sys::V4L2_CID_PAN_RELATIVE, KnownCameraControl::Pan),
    (sys::V4L2_CID_TILT_RELATIVE, KnownCameraControl::Tilt),
    (sys::V4L2_CID_ZOOM_RELATIVE, KnownCameraControl::Zoom),
    (sys::V4L2_CID_EXPOSURE, KnownCameraControl::Exposure),
    (sys::V4L2_CID_IRIS_RELATIVE, KnownCameraControl::Iris),
    (sys::V4L2_CID_FOCUS_RELATIVE, KnownCameraControl::Focus),
];

/// A camera that nokhwa and the source share.
pub(super) type Shared = Arc<Mutex<Opened>>;

/// The camera behind nokhwa's interface. Stops its stream when dropped.
pub(super) struct NokhwaCamera(Camera);

// SAFETY: `NokhwaCamera::new` is the only way to make one, and puts nothing but a `Backend` behind the interface, which
// may change threads, as `BACKEND_IS_SEND` checks; the rest of a `Camera` is an index and an enum.
unsafe impl Send for NokhwaCamera {}

const BACKEND_IS_SEND: fn() = || {
    fn check<T: Send>() {}
    check::<Backend>();
};

impl NokhwaCamera {
    /// Puts the device behind nokhwa's interface.
    pub(super) fn new(device: &Shared, path: &str, card: &str, bus: &str) -> Self {
        let _checked_when_compiled = BACKEND_IS_SEND;
        let index = CameraIndex::String(path.to_owned());
        let info = CameraInfo::new(card, &format!("V4L2 device at {path}"), bus, index.clone());
        let backend = Backend { device: Arc::clone(device), info, picture: Vec::new() };
        Self(Camera::with_custom(index, ApiBackend::Video4Linux, Box::new(backend)))
    }

    /// Sets a control.
    ///
    /// # Errors
    /// The kernel's, where there is one; nokhwa passes it on as text only, so it is taken from the device.
    pub(super) fn set_control(&mut self, control: &ControlOffer, value: i64, device: &Shared) -> io::Result<()> {
        let result = self.0.set_camera_control(control_id(control), ControlValueSetter::Integer(value));
        result.map_err(|error| failure_of(device, &error))
    }

    /// Starts the stream.
    ///
    /// # Errors
    /// The kernel's, as above.
    pub(super) fn start(&mut self, device: &Shared) -> io::Result<()> {
        self.0.open_stream().map_err(|error| failure_of(device, &error))
    }
}

/// The name under which nokhwa sets a control.
fn control_id(control: &ControlOffer) -> KnownCameraControl {
    let known = KNOWN_CONTROLS.iter().find(|(id, _)| *id == control.id);
    known.map_or(KnownCameraControl::Other(u128::from(control.id)), |(_, name)| *name)
}

/// The device, even where a thread died with it in its hands: its state is the kernel's.
pub(super) fn lock(device: &Shared) -> MutexGuard<'_, Opened> {
    device.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Backend {
    device: Shared,
    info: CameraInfo,
    picture: Vec<u8>,
}

impl Backend {
    /// A control by nokhwa's name; `Ok(None)` where the camera has none such.
    fn offer(&self, name: KnownCameraControl) -> io::Result<Option<ControlOffer>> {
        let id = match name {
            KnownCameraControl::Other(id) => u32::try_from(id).ok(),
            _ => KNOWN_CONTROLS.iter().find(|(_, known)| *known == name).map(|(id, _)| *id),
        };
        id.map_or(Ok(None), |id| lock(&self.device).node.control(id))
    }

    /// Changes the format to what `wish` says, and goes on streaming if it was.
    fn change(&mut self, fourcc: FourCc, size: Size, rate_hz: f64) -> io::Result<()> {
        let mut device = lock(&self.device);
        let offers = device.offers(Some(size))?;
        let offers: Vec<_> = offers.into_iter().filter(|offer| offer.fourcc == fourcc).collect();
        let wish = Wish { size: Some(size), rate_hz: Some(rate_hz), format: None };
        let choice = choose(&offers, &wish).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let streaming = device.is_streaming();
        device.stop();
        device.agree(&choice)?;
        if streaming { device.start() } else { Ok(()) }
    }

    fn shoot(&mut self) -> Result<(), NokhwaError> {
        let deadline = Instant::now() + FRAME_TIMEOUT;
        let mut device = lock(&self.device);
        let Some(stream) = device.stream.as_mut() else {
            return Err(NokhwaError::ReadFrameError("the stream has not been started".to_owned()));
        };
        loop {
            match stream.next(&mut self.picture, deadline.saturating_duration_since(Instant::now())) {
                Ok(Some(_)) => return Ok(()),
                Err(Fault::Damaged(_)) if Instant::now() < deadline => {}
                Ok(None) => return Err(NokhwaError::ReadFrameError(format!("no picture within {FRAME_TIMEOUT:?}"))),
                Err(Fault::Damaged(reason)) => return Err(NokhwaError::ReadFrameError(reason)),
                Err(Fault::Over(error)) => return Err(NokhwaError::ReadFrameError(error.to_string())),
            }
        }
    }
}

impl CaptureBackendTrait for Backend {
    fn backend(&self) -> ApiBackend {
        ApiBackend::Video4Linux
    }

    fn camera_info(&self) -> &CameraInfo {
        &self.info
    }

    fn refresh_camera_format(&mut self) -> Result<(), NokhwaError> {
        Ok(())
    }

    /// The format agreed on. For one that nokhwa has no name for the size and the rate hold, and the format is nokhwa's
    /// default; [`CaptureBackendTrait::frame`] refuses to hand out such pictures.
    fn camera_format(&self) -> CameraFormat {
        let device = lock(&self.device);
        let size = device.agreed.size;
        let name = name_of(device.agreed.fourcc).unwrap_or(FrameFormat::MJPEG);
        let rate_hz = device.agreed.interval.map_or(0.0, Interval::rate_hz);
        CameraFormat::new_from(size.width, size.height, name, rate_hz.round() as u32)
    }

    fn set_camera_format(&mut self, new_fmt: CameraFormat) -> Result<(), NokhwaError> {
        let size = Size { width: new_fmt.width(), height: new_fmt.height() };
        let codes = NAMED.iter().filter(|(_, name)| *name == new_fmt.format()).map(|(letters, _)| FourCc::new(letters));
        let mut result = Err(io::Error::from(io::ErrorKind::Unsupported));
        for fourcc in codes {
            result = self.change(fourcc, size, f64::from(new_fmt.frame_rate()));
            if result.is_ok() {
                break;
            }
        }
        result.map_err(|error| refused("format", new_fmt, error))
    }

    fn compatible_list_by_resolution(
        &mut self,
        fourcc: FrameFormat,
    ) -> Result<HashMap<Resolution, Vec<u32>>, NokhwaError> {
        let offers = lock(&self.device).offers(None).map_err(|error| unreadable("formats", error))?;
        let mut found: HashMap<Resolution, Vec<u32>> = HashMap::new();
        for offer in offers.iter().filter(|offer| name_of(offer.fourcc) == Some(fourcc)) {
            for sizes in &offer.sizes {
                let Some(size) = sizes.size.pick(None) else { continue };
                let rates = found.entry(Resolution::new(size.width, size.height)).or_default();
                rates.extend(sizes.rates_hz().into_iter().map(|rate_hz| rate_hz.round() as u32));
                rates.dedup();
            }
        }
        Ok(found)
    }

    fn compatible_fourcc(&mut self) -> Result<Vec<FrameFormat>, NokhwaError> {
        let offers = lock(&self.device).offers(None).map_err(|error| unreadable("formats", error))?;
        let mut found: Vec<FrameFormat> = offers.iter().filter_map(|offer| name_of(offer.fourcc)).collect();
        found.sort();
        found.dedup();
        Ok(found)
    }

    fn resolution(&self) -> Resolution {
        self.camera_format().resolution()
    }

    fn set_resolution(&mut self, new_res: Resolution) -> Result<(), NokhwaError> {
        let now = self.camera_format();
        self.set_camera_format(CameraFormat::new(new_res, now.format(), now.frame_rate()))
    }

    fn frame_rate(&self) -> u32 {
        self.camera_format().frame_rate()
    }

    fn set_frame_rate(&mut self, new_fps: u32) -> Result<(), NokhwaError> {
        let now = self.camera_format();
        self.set_camera_format(CameraFormat::new(now.resolution(), now.format(), new_fps))
    }

    fn frame_format(&self) -> FrameFormat {
        self.camera_format().format()
    }

    fn set_frame_format(&mut self, fourcc: FrameFormat) -> Result<(), NokhwaError> {
        let now = self.camera_format();
        self.set_camera_format(CameraFormat::new(now.resolution(), fourcc, now.frame_rate()))
    }

    fn camera_control(&self, control: KnownCameraControl) -> Result<CameraControl, NokhwaError> {
        match self.offer(control) {
            Ok(Some(offer)) => Ok(described(&offer)),
            Ok(None) => Err(unreadable("control", format!("the camera has no {control}"))),
            Err(error) => Err(unreadable("control", error)),
        }
    }

    fn camera_controls(&self) -> Result<Vec<CameraControl>, NokhwaError> {
        let offers = lock(&self.device).node.controls().map_err(|error| unreadable("controls", error))?;
        Ok(offers.iter().map(described).collect())
    }

    fn set_camera_control(&mut self, id: KnownCameraControl, value: ControlValueSetter) -> Result<(), NokhwaError> {
        let number = match value {
            ControlValueSetter::Integer(number) | ControlValueSetter::EnumValue(number) => Some(number),
            ControlValueSetter::Boolean(on) => Some(i64::from(on)),
            ControlValueSetter::None => Some(0),
            _ => None,
        };
        let set = match (self.offer(id), number) {
            (Ok(Some(offer)), Some(number)) => lock(&self.device).node.set_control(&offer, number),
            (Ok(_), _) => Err(io::Error::from_raw_os_error(libc::EINVAL)),
            (Err(error), _) => Err(error),
        };
        set.map_err(|error| {
            let refusal = refused("control", id, &error);
            lock(&self.device).failure = Some(error);
            refusal
        })
    }

    fn open_stream(&mut self) -> Result<(), NokhwaError> {
        let mut device = lock(&self.device);
        device.start().map_err(|error| {
            let refusal = NokhwaError::OpenStreamError(error.to_string());
            device.failure = Some(error);
            refusal
        })
    }

    fn is_stream_open(&self) -> bool {
        lock(&self.device).is_streaming()
    }

    fn frame(&mut self) -> Result<Buffer, NokhwaError> {
        let (fourcc, size) = {
            let device = lock(&self.device);
            (device.agreed.fourcc, device.agreed.size)
        };
        let Some(name) = name_of(fourcc) else {
            return Err(NokhwaError::UnsupportedOperationError(ApiBackend::Video4Linux));
        };
        self.shoot()?;
        Ok(Buffer::new(Resolution::new(size.width, size.height), &self.picture, name))
    }

    fn frame_raw(&mut self) -> Result<Cow<'_, [u8]>, NokhwaError> {
        self.shoot()?;
        Ok(Cow::Borrowed(&self.picture))
    }

    /// Never fails: nokhwa panics on an error when it drops the camera.
    fn stop_stream(&mut self) -> Result<(), NokhwaError> {
        lock(&self.device).stop();
        Ok(())
    }
}

/// What the kernel said, or nokhwa where the kernel was not asked.
fn failure_of(device: &Shared, error: &NokhwaError) -> io::Error {
    lock(device).failure.take().unwrap_or_else(|| io::Error::other(error.to_string()))
}

fn name_of(fourcc: FourCc) -> Option<FrameFormat> {
    NAMED.iter().find(|(letters, _)| FourCc::new(letters) == fourcc).map(|(_, name)| *name)
}

fn described(offer: &ControlOffer) -> CameraControl {
    let value = offer.value.unwrap_or(offer.default);
    let description = match &offer.kind {
        ControlKind::Boolean => ControlValueDescription::Boolean { value: value != 0, default: offer.default != 0 },
        ControlKind::Menu(items) => ControlValueDescription::Enum {
            value,
            possible: items.iter().map(|(value, _)| *value).collect(),
            default: offer.default,
        },
        ControlKind::Button => ControlValueDescription::None,
        ControlKind::Integer | ControlKind::Bitmask => ControlValueDescription::IntegerRange {
            min: offer.min,
            max: offer.max,
            value,
            step: offer.step,
            default: offer.default,
        },
    };
    let flag = if offer.read_only { KnownCameraControlFlag::ReadOnly } else { KnownCameraControlFlag::Manual };
    CameraControl::new(control_id(offer), offer.name.clone(), description, vec![flag], !offer.inactive)
}

fn unreadable(property: &str, error: impl Display) -> NokhwaError {
    NokhwaError::GetPropertyError { property: property.to_owned(), error: error.to_string() }
}

fn refused(property: &str, value: impl Display, error: impl Display) -> NokhwaError {
    NokhwaError::SetPropertyError { property: property.to_owned(), value: value.to_string(), error: error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use nokhwa::utils::{RequestedFormat, RequestedFormatType};

    use super::*;
    use crate::{
        capture::v4l2::{
            node::{Node, Role},
            opened::offers,
        },
        frame::PixelFormat,
    };

    fn opened(path: &Path, format: PixelFormat) -> Shared {
        let node = Node::open(path).unwrap();
        let offers = offers(&node, Role::Capture, None).unwrap();
        let choice = choose(&offers, &Wish { format: Some(format), ..Wish::default() }).unwrap();
        Arc::new(Mutex::new(Opened::new(node, &choice).unwrap()))
    }

    /// Against the kernel's driver vivid, see `tests/vm/camera.sh`.
    #[test]
    fn nokhwa_sees_controls_formats_and_pictures() {
        let Some(path) = std::env::var_os("ANDON_TEST_CAMERA").filter(|_| Path::new("/sys/module/vivid").exists())
        else {
            println!("skipped: ANDON_TEST_CAMERA names no vivid camera");
            return;
        };
        let device = opened(Path::new(&path), PixelFormat::Uyvy);
        let NokhwaCamera(mut camera) = NokhwaCamera::new(&device, "path", "card", "bus");

        camera.open_stream().unwrap();
        assert!(
            matches!(camera.frame(), Err(NokhwaError::UnsupportedOperationError(_))),
            "nokhwa has no name for UYVY"
        );
        assert!(camera.frame_raw().unwrap().len() >= 2 * 640 * 480);

        let wanted = CameraFormat::new_from(320, 180, FrameFormat::NV12, 30);
        let request = RequestedFormatType::Exact(wanted);
        let fulfilled =
            camera.set_camera_requset(RequestedFormat::with_formats(request, &[FrameFormat::NV12])).unwrap();
        assert_eq!((fulfilled, camera.camera_format()), (wanted, wanted));
        let picture = camera.frame().unwrap();
        assert_eq!((picture.resolution(), picture.buffer().len()), (Resolution::new(320, 180), 320 * 270));

        let names: Vec<String> = camera.camera_controls().unwrap().iter().map(|c| c.name().to_owned()).collect();
        assert!(names.iter().any(|name| name == "brightness") && names.iter().any(|name| name == "test_pattern"));
        for value in [100, 128] {
            camera.set_camera_control(KnownCameraControl::Brightness, ControlValueSetter::Integer(value)).unwrap();
            let control = camera.camera_control(KnownCameraControl::Brightness).unwrap();
            assert_eq!(control.value(), ControlValueSetter::Integer(value));
        }
        let absent = camera.set_camera_control(KnownCameraControl::Other(1), ControlValueSetter::Integer(1));
        assert!(absent.is_err());
        assert_eq!(lock(&device).failure.take().and_then(|error| error.raw_os_error()), Some(libc::EINVAL));

        drop(camera);
        assert!(!lock(&device).is_streaming());
    }
}
