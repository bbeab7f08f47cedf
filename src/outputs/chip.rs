//! Lines by way of the kernel's character devices, `/dev/gpiochip*`.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
};

use gpiocdev::{
    Chip, Error, Request,
    line::{EdgeDetection, Value},
};

use super::{
    lines::{Drive, Lines, Listen, Trouble},
    settings::{Bias, Edge, Input, LineName, Output},
};

/// Who has a line, as the kernel tells others.
const CONSUMER: &str = "andon";

/// So many edges of a line wait in the kernel; those that do not fit in are counted, and their times are lost.
const EDGES_MAX: u32 = 1024;

/// The chips of this box.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chips;

/// A line on a chip.
struct Place {
    path: PathBuf,
    offset: u32,
}

impl Lines for Chips {
    fn drive(&self, output: &Output) -> Result<Box<dyn Drive>, Trouble> {
        let Place { path, offset } = find(&output.line)?;
        let mut builder = Request::builder();
        builder.on_chip(&path).with_consumer(CONSUMER).with_line(offset);
        if output.active_low {
            builder.as_active_low();
        }
        let taken = builder.as_output(Value::Inactive).request();
        let request = taken.map_err(|error| refused(&output.line, &path, offset, &error))?;
        Ok(Box::new(Driven { line: output.line.clone(), request }))
    }

    fn listen(&self, input: &Input) -> Result<Box<dyn Listen>, Trouble> {
        let Place { path, offset } = find(&input.line)?;
        let mut builder = Request::builder();
        builder.on_chip(&path).with_consumer(CONSUMER).with_kernel_event_buffer_size(EDGES_MAX);
        builder.with_line(offset).as_input();
        if input.active_low {
            builder.as_active_low();
        }
        builder.with_edge_detection(match input.edge {
            Edge::Rising => EdgeDetection::RisingEdge,
            Edge::Falling => EdgeDetection::FallingEdge,
            Edge::Both => EdgeDetection::BothEdges,
        });
        match input.bias {
            Bias::None => {}
            Bias::Up => drop(builder.with_bias(gpiocdev::line::Bias::PullUp)),
            Bias::Down => drop(builder.with_bias(gpiocdev::line::Bias::PullDown)),
        }
        if !input.debounce.is_zero() {
            builder.with_debounce_period(input.debounce);
        }
        let taken = builder.request();
        let request = taken.map_err(|error| refused(&input.line, &path, offset, &error))?;
        Ok(Box::new(Heard { line: input.line.clone(), request, heard: 0 }))
    }

    fn look(&self, line: &LineName) -> Result<String, Trouble> {
        let Place { path, offset } = find(line)?;
        let chip = Chip::from_path(&path).map_err(|error| refused(line, &path, offset, &error))?;
        let info = chip.line_info(offset).map_err(|error| refused(line, &path, offset, &error))?;
        let called = if info.name.is_empty() { String::new() } else { format!(" \"{}\"", info.name) };
        let place = format!("{}:{offset}{called}", chip.name());
        match (info.used, info.consumer.as_str()) {
            (false, _) => Ok(format!("{place}, free")),
            (true, CONSUMER) => Ok(format!("{place}, andon has it")),
            (true, _) => Err(busy(line, &info.consumer)),
        }
    }
}

struct Driven {
    line: LineName,
    request: Request,
}

impl Drive for Driven {
    fn set(&mut self, active: bool) -> Result<(), Trouble> {
        let value = if active { Value::Active } else { Value::Inactive };
        self.request.set_lone_value(value).map_err(|error| gone(&self.line, &error))
    }
}

struct Heard {
    line: LineName,
    request: Request,
    /// The number of the last edge, from 1.
    heard: u32,
}

impl Listen for Heard {
    fn edges(&mut self) -> Result<u64, Trouble> {
        let event = self.request.read_edge_event().map_err(|error| gone(&self.line, &error))?;
        let edges = event.line_seqno.wrapping_sub(self.heard);
        self.heard = event.line_seqno;
        Ok(u64::from(edges))
    }
}

impl AsFd for Heard {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.request.as_fd()
    }
}

/// Where a line is.
fn find(line: &LineName) -> Result<Place, Trouble> {
    let trouble = |why: String| Trouble::new(line, why);
    match line {
        LineName::Numbered { chip, offset } => {
            let path = Path::new("/dev").join(chip);
            let opened = Chip::from_path(&path).map_err(|error| refused(line, &path, *offset, &error))?;
            let info = opened.info().map_err(|error| refused(line, &path, *offset, &error))?;
            if *offset >= info.num_lines {
                let last = info.num_lines.saturating_sub(1);
                return Err(trouble(format!("{chip} has lines 0 to {last}; `gpioinfo` lists them")));
            }
            Ok(Place { path, offset: *offset })
        }
        LineName::Named(name) => {
            let chips = gpiocdev::chip::chips();
            let chips = chips.map_err(|error| trouble(format!("no chip can be looked for: {error}; look at /dev")))?;
            let mut closed = None;
            for path in &chips {
                match Chip::from_path(path) {
                    Ok(chip) => {
                        if let Some(info) = chip.find_line_info(name) {
                            return Ok(Place { path: path.clone(), offset: info.offset });
                        }
                    }
                    Err(error) => closed = closed.or(Some(refused(line, path, 0, &error))),
                }
            }
            // The line may be on the one that could not be opened.
            Err(closed.unwrap_or_else(|| {
                trouble(if chips.is_empty() {
                    "this box has no GPIO chip that the kernel knows; load its driver, and `gpiodetect` lists it"
                        .to_owned()
                } else {
                    "no chip has a line of that name; `gpioinfo` lists their names".to_owned()
                })
            }))
        }
    }
}

fn busy(line: &LineName, consumer: &str) -> Trouble {
    let by = if consumer.is_empty() { "the kernel or another program".to_owned() } else { format!("\"{consumer}\"") };
    Trouble::new(line, format!("{by} has it already; end that, or choose another line"))
}

/// Why a line cannot be had.
fn refused(line: &LineName, path: &Path, offset: u32, error: &Error) -> Trouble {
    let path = path.display();
    let why = match errno(error) {
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => {
            format!("there is no {path}; `gpiodetect` lists the chips that the kernel knows")
        }
        Some(libc::EACCES | libc::EPERM) => format!(
            "{path} may not be opened; let its group be gpio by a rule of udev, and make andon's user a member \
             (usermod -aG gpio andon)"
        ),
        Some(libc::EBUSY) => {
            let info = Chip::from_path(format!("{path}")).and_then(|chip| chip.line_info(offset));
            return busy(line, &info.map(|info| info.consumer).unwrap_or_default());
        }
        Some(libc::EINVAL | libc::EOPNOTSUPP | ENOTSUPP) => {
            format!(
                "the chip cannot do what is asked of it ({error}); leave out bias or debounce, or choose another line"
            )
        }
        _ => format!("{path} refuses: {error}; see the kernel's log"),
    };
    Trouble::new(line, why)
}

/// Why a line that was had can no longer be used.
fn gone(line: &LineName, error: &Error) -> Trouble {
    Trouble::new(line, format!("its chip no longer answers: {error}; check that it is plugged in"))
}

/// What drivers answer that know no such thing; the kernel's own, which no library names.
const ENOTSUPP: i32 = 524;

/// The system's number of an error. The library keeps it in a type that it does not give away, so it is read from the
/// words, which end in `(os error 16)`.
fn errno(error: &Error) -> Option<i32> {
    if let Error::Os(errno) = error {
        return Some(errno.0);
    }
    let text = error.to_string();
    text.rsplit_once("(os error ")?.1.trim_end_matches(['.', ')']).parse().ok()
}

/// Waits until one of these can be read, for so long at most; says which, by their indices.
///
/// # Errors
/// Where the system refuses.
pub fn wait_for(listened: &[(usize, &dyn Listen)], within: std::time::Duration) -> io::Result<Vec<usize>> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut files: Vec<PollFd<'_>> =
        listened.iter().map(|(_, listen)| PollFd::from_borrowed_fd(listen.as_fd(), PollFlags::IN)).collect();
    let timeout = Timespec::try_from(within).map_err(io::Error::other)?;
    match poll(&mut files, Some(&timeout)) {
        // A signal that somebody else serves.
        Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
        result => result?,
    };
    let ready = listened.iter().zip(&files).filter(|(_, file)| !file.revents().is_empty());
    Ok(ready.map(|((index, _), _)| *index).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outputs::{InputKind, OutputKind};

    fn line(text: &str) -> LineName {
        text.parse().unwrap()
    }

    /// True on any machine: no chip has this number, and no line this name.
    #[test]
    fn what_is_not_there_is_said_with_what_to_do() {
        let output = |name: &str| Output {
            id: "o".to_owned(),
            line: line(name),
            active_low: false,
            kind: OutputKind::Relay { cameras: Vec::new(), within: std::time::Duration::ZERO, toggle: None },
        };
        let input = |name: &str| Input {
            id: "i".to_owned(),
            line: line(name),
            edge: Edge::Both,
            active_low: true,
            bias: Bias::Up,
            kind: InputKind::Trigger,
            debounce: std::time::Duration::from_millis(1),
        };
        let numbered = "line gpiochip9999:3: there is no /dev/gpiochip9999; `gpiodetect` lists";
        for trouble in [
            Chips.drive(&output("gpiochip9999:3")).err().unwrap(),
            Chips.listen(&input("gpiochip9999:3")).err().unwrap(),
            Chips.look(&line("gpiochip9999:3")).unwrap_err(),
        ] {
            assert!(trouble.to_string().starts_with(numbered), "{trouble}");
        }
        let named = Chips.look(&line("no such line of ours")).unwrap_err().to_string();
        assert!(named.starts_with("line no such line of ours: ") && named.contains("; "), "{named}");
    }

    #[test]
    fn each_refusal_of_the_kernel_has_its_sentence() {
        for (number, words) in [
            (libc::ENOENT, "there is no /dev/gpiochip0"),
            (libc::EACCES, "group be gpio"),
            (libc::EPERM, "group be gpio"),
            (libc::EBUSY, "has it already; end that"),
            (libc::EINVAL, "leave out bias or debounce"),
            (ENOTSUPP, "leave out bias or debounce"),
            (libc::EIO, "see the kernel's log"),
        ] {
            let error = Error::from(io::Error::from_raw_os_error(number));
            assert_eq!(errno(&error), Some(number));
            let trouble = refused(&line("gpiochip0:1"), Path::new("/dev/gpiochip0"), 1, &error).to_string();
            assert!(trouble.starts_with("line gpiochip0:1: ") && trouble.contains(words), "{trouble}");
        }
    }
}
