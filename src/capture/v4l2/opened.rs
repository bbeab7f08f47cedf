//! One camera that is open: its node, what was agreed on, and its stream while it runs.
//!
//! Shared between the source, which reads pictures, and the backend under nokhwa. Errors stay as the kernel gave them.

use std::{io, path::Path, sync::Arc};

use super::{
    formats::{Choice, FormatOffer, FourCc, Interval, Intervals, Range, SizeOffer},
    node::{Node, Role},
    stream::Stream,
};
use crate::{frame::PixelFormat, geometry::Size};

/// One camera that is open.
pub(super) struct Opened {
    pub(super) node: Arc<Node>,
    pub(super) agreed: Agreed,
    pub(super) stream: Option<Stream>,
    /// The last error of what was asked through nokhwa, which passes it on as text only.
    pub(super) failure: Option<io::Error>,
}

/// What the driver agreed to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Agreed {
    pub(super) fourcc: FourCc,
    pub(super) pixel_format: PixelFormat,
    pub(super) size: Size,
    /// Bytes from line to line in the first plane; zero for JPEG.
    pub(super) stride: usize,
    /// `None` where the driver does not say.
    pub(super) interval: Option<Interval>,
}

impl Opened {
    /// A camera on this node, set to a choice out of its offers.
    pub(super) fn new(node: Node, choice: &Choice) -> io::Result<Self> {
        let agreed = agree(&node, choice)?;
        Ok(Self { node: Arc::new(node), agreed, stream: None, failure: None })
    }

    /// What the camera offers, with the rates of `size` where it offers ranges of sizes.
    pub(super) fn offers(&self, size: Option<Size>) -> io::Result<Vec<FormatOffer>> {
        offers(&self.node, Role::Capture, size)
    }

    /// Sets another choice; the stream has to be stopped.
    pub(super) fn agree(&mut self, choice: &Choice) -> io::Result<()> {
        self.agreed = agree(&self.node, choice)?;
        Ok(())
    }

    /// Starts the stream, if it does not run.
    pub(super) fn start(&mut self) -> io::Result<()> {
        if self.stream.is_none() {
            let Agreed { pixel_format, size, stride, interval, .. } = self.agreed;
            let len_min = usize::try_from(pixel_format.len_min(size, stride)).unwrap_or(usize::MAX);
            self.stream = Some(Stream::start(Arc::clone(&self.node), len_min, interval.map(Interval::duration))?);
        }
        Ok(())
    }

    /// Stops the stream, if it runs, and gives its buffers back.
    pub(super) fn stop(&mut self) {
        self.stream = None;
    }

    /// Whether the stream runs.
    pub(super) fn is_streaming(&self) -> bool {
        self.stream.is_some()
    }

    /// Whether `path` still leads to this camera.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        self.node.is_at(path)
    }
}

/// What a node offers, with the rates of `size` where it offers ranges of sizes.
pub(super) fn offers(node: &Node, role: Role, size: Option<Size>) -> io::Result<Vec<FormatOffer>> {
    let mut offers = Vec::new();
    for (fourcc, description) in node.formats(role)? {
        let pixel_format = fourcc.pixel_format().filter(|_| role == Role::Capture);
        let mut ranges = node.sizes(fourcc)?;
        if ranges.is_empty() && role == Role::Capture {
            // A driver without a list of sizes still says what it would make of a wish.
            let wished = size.unwrap_or(Size { width: 640, height: 480 });
            ranges.extend(node.format(fourcc, wished, false).ok().map(|format| Range::exactly(format.size)));
        }
        let mut sizes = Vec::with_capacity(ranges.len());
        for range in ranges {
            let concrete = range.pick(size).or_else(|| range.pick(None));
            let intervals = concrete.map_or(Ok(Intervals::Unknown), |size| node.intervals(fourcc, size))?;
            sizes.push(SizeOffer { size: range, intervals });
        }
        offers.push(FormatOffer { fourcc, description, pixel_format, sizes });
    }
    Ok(offers)
}

fn agree(node: &Node, choice: &Choice) -> io::Result<Agreed> {
    let set = node.format(choice.fourcc, choice.size, true)?;
    if set.fourcc != choice.fourcc || set.size != choice.size || !set.whole_pictures {
        let fields = if set.whole_pictures { "" } else { " in separate fields" };
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!(
                "offers {}×{} {} but sets {}×{} {}{fields}",
                choice.size.width, choice.size.height, choice.fourcc, set.size.width, set.size.height, set.fourcc
            ),
        ));
    }
    let interval = node.set_interval(choice.interval)?;
    // A driver may leave the stride out where lines have no padding.
    let stride = match choice.pixel_format {
        PixelFormat::Jpeg => 0,
        format => set.stride.max(format.line_len(set.size.width)),
    };
    Ok(Agreed { fourcc: set.fourcc, pixel_format: choice.pixel_format, size: set.size, stride, interval })
}
