//! Which format, size and rate to ask of a camera, out of what it offers.
//!
//! Pure: the offers come in, a choice or a reason goes out; [`super::node`] talks to the driver. What the device was
//! left in by another program plays no part.

use std::{fmt, time::Duration};

use anyhow::bail;

use crate::{frame::PixelFormat, geometry::Size};

/// The code with which V4L2 names a pixel format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FourCc(pub u32);

/// The formats that andon reads, those it likes best first: raw before JPEG, which costs time to decode and has lost
/// detail; colour before grey.
const READABLE: [(&[u8; 4], PixelFormat); 9] = [
    (b"YUYV", PixelFormat::Yuyv),
    (b"UYVY", PixelFormat::Uyvy),
    (b"NV12", PixelFormat::Nv12),
    (b"YU12", PixelFormat::I420),
    (b"RGB3", PixelFormat::Rgb8),
    (b"BGR3", PixelFormat::Bgr8),
    (b"MJPG", PixelFormat::Jpeg),
    (b"JPEG", PixelFormat::Jpeg),
    (b"GREY", PixelFormat::Grey8),
];

/// The sizes taken where none is asked for: about what a detector sees, without a long way to scale down.
const DEFAULT_SIZE_MIN: Size = Size { width: 640, height: 480 };
const DEFAULT_SIZE_MAX: Size = Size { width: 1280, height: 720 };

/// The rate taken where none is asked for, and the one below which another format is preferred.
const DEFAULT_RATE_HZ: f64 = 30.0;
const RATE_MIN_HZ: f64 = 15.0;

/// Rates this near to each other count as the same: 29.97 is 30.
const RATE_TOLERANCE: f64 = 0.05;

/// How many entries an error message lists.
const LISTED_MAX: usize = 24;

impl FourCc {
    /// From its four letters.
    pub const fn new(letters: &[u8; 4]) -> Self {
        Self(u32::from_le_bytes(*letters))
    }

    /// What its pictures are here; `None` where andon cannot read them.
    pub fn pixel_format(self) -> Option<PixelFormat> {
        self.rank().map(|rank| READABLE[rank].1)
    }

    /// Its place in the order of liking.
    fn rank(self) -> Option<usize> {
        READABLE.iter().position(|(letters, _)| Self::new(letters) == self)
    }
}

impl fmt::Display for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The top bit of a code says big endian; V4L2's tools write it as a suffix.
        let big_endian = self.0 & (1 << 31) != 0;
        let letters = (self.0 & !(1 << 31)).to_le_bytes();
        let text: String = letters
            .iter()
            .map(|&byte| if byte.is_ascii_graphic() || byte == b' ' { byte as char } else { '?' })
            .collect();
        write!(f, "{}{}", text.trim_end(), if big_endian { "-BE" } else { "" })
    }
}

/// The time from one frame to the next, in seconds, as the exact fraction that V4L2 uses. Neither part is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// Above the line.
    pub numerator: u32,
    /// Below the line.
    pub denominator: u32,
}

impl Interval {
    /// The interval of a rate, exact to a millihertz.
    pub fn of_rate_hz(rate_hz: f64) -> Self {
        Self { numerator: 1000, denominator: (rate_hz * 1000.0).round().clamp(1.0, f64::from(u32::MAX)) as u32 }
    }

    /// Frames per second.
    pub fn rate_hz(self) -> f64 {
        f64::from(self.denominator) / f64::from(self.numerator)
    }

    /// As a duration.
    pub fn duration(self) -> Duration {
        Duration::from_secs_f64(1.0 / self.rate_hz())
    }
}

/// The frame intervals of one format and size.
#[derive(Clone, Debug, PartialEq)]
pub enum Intervals {
    /// These.
    List(Vec<Interval>),
    /// Any, or many, between two.
    Between {
        /// The highest rate.
        shortest: Interval,
        /// The lowest rate.
        longest: Interval,
    },
    /// The driver does not say.
    Unknown,
}

impl Intervals {
    /// The rates, highest first; the two ends of a range; empty where the driver does not say.
    pub fn rates_hz(&self) -> Vec<f64> {
        let mut rates: Vec<f64> = match self {
            Self::List(intervals) => intervals.iter().map(|interval| interval.rate_hz()).collect(),
            Self::Between { shortest, longest } => vec![shortest.rate_hz(), longest.rate_hz()],
            Self::Unknown => Vec::new(),
        };
        rates.sort_by(|a, b| b.total_cmp(a));
        rates.dedup();
        rates
    }

    /// Whether one of them is as fast as that; where the driver does not say, it is taken to be.
    fn reaches(&self, rate_hz: f64) -> bool {
        self.rates_hz().first().is_none_or(|fastest| *fastest >= rate_hz * (1.0 - RATE_TOLERANCE))
    }

    /// The one to ask for: the nearest to the asked rate; without one, the fastest up to [`DEFAULT_RATE_HZ`], or else the
    /// slowest. `None` leaves it to the driver.
    fn pick(&self, asked_hz: Option<f64>) -> Option<Interval> {
        let target = asked_hz.unwrap_or(DEFAULT_RATE_HZ);
        match self {
            Self::Unknown => asked_hz.map(Interval::of_rate_hz),
            Self::Between { shortest, longest } => {
                let (fastest_hz, slowest_hz) = (shortest.rate_hz(), longest.rate_hz());
                Some(if target >= fastest_hz {
                    *shortest
                } else if target <= slowest_hz {
                    *longest
                } else {
                    Interval::of_rate_hz(target)
                })
            }
            Self::List(intervals) => {
                let distance = |interval: &Interval| {
                    let rate = interval.rate_hz();
                    let too_fast = asked_hz.is_none() && rate > target * (1.0 + RATE_TOLERANCE);
                    (too_fast, (rate - target).abs())
                };
                intervals.iter().copied().min_by(|a, b| {
                    let (a, b) = (distance(a), distance(b));
                    a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
                })
            }
        }
    }
}

/// One size, or a grid of sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The smallest.
    pub min: Size,
    /// The largest.
    pub max: Size,
    /// From one size to the next, at least one pixel.
    pub step: Size,
}

impl Range {
    /// One size.
    pub fn exactly(size: Size) -> Self {
        Self { min: size, max: size, step: Size { width: 1, height: 1 } }
    }

    /// The size to consider where this one is asked for; without one, the nearest to the smallest default.
    pub(super) fn pick(&self, asked: Option<Size>) -> Option<Size> {
        let on_grid = |value: u32, min: u32, max: u32, step: u32| {
            let value = value.clamp(min, max.max(min));
            min + (value - min) / step.max(1) * step.max(1)
        };
        let target = asked.unwrap_or(DEFAULT_SIZE_MIN);
        let size = Size {
            width: on_grid(target.width, self.min.width, self.max.width, self.step.width),
            height: on_grid(target.height, self.min.height, self.max.height, self.step.height),
        };
        (asked.is_none() || asked == Some(size)).then_some(size)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}×{}", self.min.width, self.min.height)?;
        if self.min != self.max {
            write!(f, " to {}×{}", self.max.width, self.max.height)?;
        }
        if self.min != self.max && (self.step.width, self.step.height) != (1, 1) {
            write!(f, " in steps of {}×{}", self.step.width, self.step.height)?;
        }
        Ok(())
    }
}

/// A pixel format that a camera offers.
#[derive(Clone, Debug, PartialEq)]
pub struct FormatOffer {
    /// As V4L2 names it.
    pub fourcc: FourCc,
    /// As the driver describes it.
    pub description: String,
    /// What it is here; `None` where andon cannot read it.
    pub pixel_format: Option<PixelFormat>,
    /// In which sizes.
    pub sizes: Vec<SizeOffer>,
}

/// Sizes of a pixel format.
#[derive(Clone, Debug, PartialEq)]
pub struct SizeOffer {
    /// One size, or a grid of them.
    pub size: Range,
    /// The frame intervals; of a grid, those at the size that would be chosen from it.
    pub intervals: Intervals,
}

impl SizeOffer {
    /// The rates, highest first; the two ends where any between them will do; empty where the driver does not say.
    pub fn rates_hz(&self) -> Vec<f64> {
        self.intervals.rates_hz()
    }
}

/// What is wanted of a camera; what is left open is chosen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wish {
    pub(super) format: Option<PixelFormat>,
    pub(super) size: Option<Size>,
    pub(super) rate_hz: Option<f64>,
}

/// What to ask the driver for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Choice {
    pub(super) fourcc: FourCc,
    pub(super) pixel_format: PixelFormat,
    pub(super) size: Size,
    /// `None` leaves it to the driver.
    pub(super) interval: Option<Interval>,
}

/// Chooses from what is offered.
///
/// A format or size that is asked for is kept or refused; a rate that is asked for is met as nearly as can be. Of what
/// is left open:
/// 1. a rate that was asked for is reached, if any size and format reach it;
/// 2. the smallest size from 640×480 to 1280×720; else the largest below; else the smallest above;
/// 3. a format that reaches 15 Hz;
/// 4. formats in the order of [`READABLE`], so JPEG only where raw pictures are too slow;
/// 5. the fastest rate up to 30 Hz.
///
/// # Errors
/// Says what is asked in vain and lists what is offered.
pub(super) fn choose(offers: &[FormatOffer], wish: &Wish) -> anyhow::Result<Choice> {
    let readable: Vec<&FormatOffer> = offers.iter().filter(|offer| offer.pixel_format.is_some()).collect();
    if readable.is_empty() {
        bail!(
            "offers only {}, which andon cannot read; use a command source, such as rpicam-vid for a CSI camera of a \
             Raspberry Pi, or gst-launch-1.0 with nvarguscamerasrc on a Jetson",
            listed(offers.iter().map(|offer| offer.fourcc.to_string()))
        );
    }
    let of_format: Vec<&FormatOffer> =
        readable.iter().copied().filter(|offer| wish.format.is_none() || offer.pixel_format == wish.format).collect();
    if let (true, Some(format)) = (of_format.is_empty(), wish.format) {
        let letters = READABLE.iter().find(|(_, known)| *known == format).map(|(letters, _)| FourCc::new(letters));
        bail!(
            "does not offer {}; ask for no format or for one of {}",
            letters.expect("every pixel format is readable"),
            listed(readable.iter().map(|offer| offer.fourcc.to_string()))
        );
    }
    let candidates = of_format.iter().flat_map(|format| {
        format.sizes.iter().filter_map(|sizes| Some((*format, sizes.size.pick(wish.size)?, &sizes.intervals)))
    });
    let best = candidates.min_by_key(|(format, size, intervals)| {
        let (class, order) = size_preference(*size);
        let misses_asked = wish.rate_hz.is_some_and(|rate_hz| !intervals.reaches(rate_hz));
        let slow = wish.rate_hz.is_none() && !intervals.reaches(RATE_MIN_HZ);
        (misses_asked, class, slow, order, format.fourcc.rank())
    });
    let Some((format, size, intervals)) = best else {
        let what = wish.size.map_or_else(|| "any size".to_owned(), |size| format!("{}×{}", size.width, size.height));
        let mut sizes: Vec<String> =
            of_format.iter().flat_map(|format| format.sizes.iter().map(|sizes| sizes.size.to_string())).collect();
        let mut seen = std::collections::HashSet::new();
        sizes.retain(|size| seen.insert(size.clone()));
        bail!("does not offer {what}; ask for no size or for one of {}", listed(sizes.into_iter()));
    };
    let pixel_format = format.pixel_format.expect("only readable formats are candidates");
    Ok(Choice { fourcc: format.fourcc, pixel_format, size, interval: intervals.pick(wish.rate_hz) })
}

/// A rate as people write it: `30`, `7.5`, `29.97`.
pub(super) fn rate_text(rate_hz: f64) -> String {
    let text = format!("{rate_hz:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Whether two rates are as good as the same.
pub(super) fn same_rate(a_hz: f64, b_hz: f64) -> bool {
    (a_hz - b_hz).abs() <= RATE_TOLERANCE * a_hz.max(b_hz)
}

/// How much a size is liked where none is asked for: its class, and its place in the class; less is better.
fn size_preference(size: Size) -> (u8, u64) {
    let area = u64::from(size.width) * u64::from(size.height);
    if size.width > DEFAULT_SIZE_MAX.width || size.height > DEFAULT_SIZE_MAX.height {
        (2, area)
    } else if size.width >= DEFAULT_SIZE_MIN.width && size.height >= DEFAULT_SIZE_MIN.height {
        (0, area)
    } else {
        (1, u64::MAX - area)
    }
}

fn listed(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    if items.is_empty() {
        return "nothing".to_owned();
    }
    let more = if items.len() > LISTED_MAX { ", …" } else { "" };
    format!("{}{more}", items[..items.len().min(LISTED_MAX)].join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(width: u32, height: u32) -> Size {
        Size { width, height }
    }

    fn hz(rates: &[f64]) -> Intervals {
        Intervals::List(rates.iter().map(|rate| Interval::of_rate_hz(*rate)).collect())
    }

    fn offer(letters: &[u8; 4], sizes: &[(u32, u32, &[f64])]) -> FormatOffer {
        let fourcc = FourCc::new(letters);
        FormatOffer {
            fourcc,
            description: String::new(),
            pixel_format: fourcc.pixel_format(),
            sizes: sizes
                .iter()
                .map(|(w, h, rates)| SizeOffer { size: Range::exactly(size(*w, *h)), intervals: hz(rates) })
                .collect(),
        }
    }

    fn chosen(offers: &[FormatOffer], wish: &Wish) -> (String, Size, String) {
        let choice = choose(offers, wish).unwrap();
        (choice.fourcc.to_string(), choice.size, choice.interval.map_or_else(String::new, |i| rate_text(i.rate_hz())))
    }

    #[test]
    fn a_usual_webcam_is_read_raw_at_vga_and_in_jpeg_where_raw_is_slow() {
        let raw = offer(b"YUYV", &[(320, 240, &[30.0]), (640, 480, &[30.0, 15.0]), (1280, 720, &[10.0, 5.0])]);
        let jpeg = offer(b"MJPG", &[(320, 240, &[30.0]), (640, 480, &[60.0, 30.0]), (1280, 720, &[30.0])]);
        let both = [jpeg, raw];
        let open = Wish::default();
        assert_eq!(chosen(&both, &open), ("YUYV".to_owned(), size(640, 480), "30".to_owned()));
        let fast = Wish { rate_hz: Some(60.0), ..open };
        assert_eq!(chosen(&both, &fast), ("MJPG".to_owned(), size(640, 480), "60".to_owned()));
        let large = Wish { size: Some(size(1280, 720)), ..open };
        assert_eq!(chosen(&both, &large), ("MJPG".to_owned(), size(1280, 720), "30".to_owned()));
        let large_and_slow = Wish { rate_hz: Some(10.0), ..large };
        assert_eq!(chosen(&both, &large_and_slow), ("YUYV".to_owned(), size(1280, 720), "10".to_owned()));
        let large_and_raw = Wish { format: Some(PixelFormat::Yuyv), ..large };
        assert_eq!(chosen(&both, &large_and_raw), ("YUYV".to_owned(), size(1280, 720), "10".to_owned()));
    }

    #[test]
    fn without_a_size_from_vga_to_720p_the_nearest_is_taken() {
        let small = [offer(b"GREY", &[(160, 120, &[60.0]), (320, 240, &[60.0])])];
        assert_eq!(chosen(&small, &Wish::default()), ("GREY".to_owned(), size(320, 240), "60".to_owned()));
        let large = [offer(b"NV12", &[(3840, 2160, &[30.0]), (1920, 1080, &[5.0])])];
        assert_eq!(chosen(&large, &Wish::default()), ("NV12".to_owned(), size(3840, 2160), "30".to_owned()));
    }

    #[test]
    fn the_nearest_rate_is_taken_fractions_included() {
        let camera = [offer(b"YUYV", &[(1280, 720, &[12.5, 7.5, 5.0])])];
        for (asked, got) in [(Some(7.0), "7.5"), (Some(100.0), "12.5"), (Some(1.0), "5"), (None, "12.5")] {
            assert_eq!(chosen(&camera, &Wish { rate_hz: asked, ..Wish::default() }).2, got);
        }
        let any = Intervals::Between { shortest: Interval::of_rate_hz(60.0), longest: Interval::of_rate_hz(2.0) };
        assert_eq!(any.pick(Some(12.5)), Some(Interval::of_rate_hz(12.5)));
        assert_eq!(any.pick(Some(100.0)), Some(Interval::of_rate_hz(60.0)));
        assert_eq!(any.pick(None), Some(Interval::of_rate_hz(30.0)));
        assert_eq!(Intervals::Unknown.pick(None), None);
        assert_eq!(Intervals::Unknown.pick(Some(5.0)), Some(Interval::of_rate_hz(5.0)));
    }

    #[test]
    fn sizes_are_picked_from_a_grid() {
        let grid = Range { min: size(16, 16), max: size(1920, 1080), step: size(2, 4) };
        assert_eq!(grid.pick(None), Some(size(640, 480)));
        assert_eq!(grid.pick(Some(size(800, 600))), Some(size(800, 600)));
        assert_eq!(grid.pick(Some(size(801, 600))), None);
        assert_eq!(grid.pick(Some(size(4000, 600))), None);
        assert_eq!(Range { max: size(100, 99), ..grid }.pick(None), Some(size(100, 96)));
        assert_eq!(Range::exactly(size(5, 7)).pick(None), Some(size(5, 7)));
        assert_eq!(grid.to_string(), "16×16 to 1920×1080 in steps of 2×4");
    }

    #[test]
    fn what_is_asked_in_vain_is_named_with_what_there_is() {
        let camera = [offer(b"MJPG", &[(640, 480, &[30.0]), (800, 600, &[30.0])]), offer(b"H264", &[])];
        let said = |wish: &Wish| choose(&camera, wish).unwrap_err().to_string();
        let text = said(&Wish { size: Some(size(641, 480)), ..Wish::default() });
        assert_eq!(text, "does not offer 641×480; ask for no size or for one of 640×480, 800×600");
        let text = said(&Wish { format: Some(PixelFormat::Yuyv), ..Wish::default() });
        assert_eq!(text, "does not offer YUYV; ask for no format or for one of MJPG");
        let bayer = [offer(b"pRAA", &[]), offer(b"RG10", &[])];
        let text = choose(&bayer, &Wish::default()).unwrap_err().to_string();
        assert!(text.starts_with("offers only pRAA, RG10,") && text.contains("rpicam-vid"), "{text}");
    }

    #[test]
    fn codes_and_rates_read_as_people_write_them() {
        assert_eq!(FourCc::new(b"Y16 ").to_string(), "Y16");
        assert_eq!(FourCc(FourCc::new(b"Y16 ").0 | 1 << 31).to_string(), "Y16-BE");
        assert_eq!(rate_text(30.0003), "30");
        assert_eq!(rate_text(29.97), "29.97");
        assert_eq!(rate_text(7.5), "7.5");
        assert_eq!(Interval { numerator: 2, denominator: 25 }.duration(), Duration::from_millis(80));
    }
}
