//! Which cameras there are, with a name for each that stays when they are plugged in again.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context;

use super::{
    ControlOffer, FormatOffer,
    node::{Node, Role},
    opened::offers,
};

/// A camera that is there.
#[derive(Clone, Debug)]
pub struct Device {
    /// What to write into the configuration: by id, else by the port it is plugged into, else the node.
    pub path: PathBuf,
    /// The node, whose number changes from boot to boot.
    pub node: PathBuf,
    /// What the camera calls itself.
    pub name: String,
    /// Where it is plugged in.
    pub bus: String,
    /// Its kernel driver.
    pub driver: String,
    /// In which formats it gives pictures.
    pub formats: Vec<FormatOffer>,
    /// What can be set.
    pub controls: Vec<ControlOffer>,
}

/// The cameras of this machine, by the number of their node; an empty list where there are none.
///
/// Nodes that give no pictures (a webcam's metadata, codecs, outputs) are left out. A node that gives pictures that
/// andon cannot read is listed with formats that say so.
///
/// # Errors
/// Names a node that may not be opened, and what to do.
pub fn devices() -> anyhow::Result<Vec<Device>> {
    let links: Vec<Link> =
        ["/dev/v4l/by-id", "/dev/v4l/by-path"].iter().flat_map(|folder| links_in(Path::new(folder))).collect();
    let mut found = Vec::new();
    for node in nodes_in(Path::new("/dev")).context("cannot list /dev")? {
        let opened = match Node::open(&node) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(super::denied(&node, &error));
            }
            // Unplugged since it was listed, or no camera at all.
            Err(_) => continue,
        };
        // A camera that is unplugged while it is asked is not there.
        if let Ok(Some(device)) = inspect(&opened, node) {
            found.push(device);
        }
    }
    let names: Vec<(PathBuf, String)> = found.iter().map(|device| (device.node.clone(), device.name.clone())).collect();
    for device in &mut found {
        device.path = stable_path(&device.node, &names, &links);
    }
    Ok(found)
}

/// A link that udev made: where it lies and which node it leads to.
#[derive(Clone, Debug)]
struct Link {
    path: PathBuf,
    node: PathBuf,
}

fn inspect(opened: &Node, node: PathBuf) -> io::Result<Option<Device>> {
    let capabilities = opened.capabilities()?;
    if !matches!(capabilities.role, Role::Capture | Role::MultiPlanar) {
        return Ok(None);
    }
    Ok(Some(Device {
        path: node.clone(),
        node,
        name: capabilities.card,
        bus: capabilities.bus,
        driver: capabilities.driver,
        formats: offers(opened, capabilities.role, None)?,
        // A camera that fails to tell its controls gives pictures all the same.
        controls: match opened.controls() {
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Err(error),
            controls => controls.unwrap_or_default(),
        },
    }))
}

/// The nodes named `video` and a number, by their numbers.
fn nodes_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("video")).and_then(|number| number.parse().ok());
        found.extend(number.map(|number| (number, entry.path())));
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

fn links_in(folder: &Path) -> Vec<Link> {
    // No such folder, no links: a machine without udev, or without cameras.
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut links: Vec<Link> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let node = fs::canonicalize(&path).ok()?;
            Some(Link { path, node })
        })
        .collect();
    // A camera may have several links by path; the first of the shortest is the plainest.
    links.sort_by_key(|link| (link.path.as_os_str().len(), link.path.clone()));
    links
}

/// The name to keep for a node. Cameras of one model without serial numbers share one link by id, which then leads to
/// any of them: where one of the name has no link by id, none of that name goes by it.
fn stable_path(node: &Path, names: &[(PathBuf, String)], links: &[Link]) -> PathBuf {
    let link_to = |folder: &str, node: &Path| {
        let in_folder = |link: &&Link| link.path.parent().is_some_and(|parent| parent.ends_with(folder));
        links.iter().filter(in_folder).find(|link| link.node == node).map(|link| link.path.clone())
    };
    let name = names.iter().find(|(other, _)| other == node).map(|(_, name)| name);
    let ambiguous = names.iter().any(|(other, of_other)| Some(of_other) == name && link_to("by-id", other).is_none());
    let by_id = if ambiguous { None } else { link_to("by-id", node) };
    by_id.or_else(|| link_to("by-path", node)).unwrap_or_else(|| node.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(path: &str, node: &str) -> Link {
        Link { path: path.into(), node: node.into() }
    }

    fn path_of(node: &str, names: &[(&str, &str)], links: &[Link]) -> String {
        let names: Vec<_> = names.iter().map(|(node, name)| (PathBuf::from(node), (*name).to_owned())).collect();
        stable_path(Path::new(node), &names, links).display().to_string()
    }

    #[test]
    fn a_camera_goes_by_its_id_else_by_its_port_else_by_its_node() {
        let names = [("/dev/video0", "C920"), ("/dev/video2", "vivid"), ("/dev/video4", "other")];
        let links = [
            link("/dev/v4l/by-id/usb-046d_C920_AB12-video-index0", "/dev/video0"),
            link("/dev/v4l/by-path/pci-0000:00:14.0-usb-0:1:1.0-video-index0", "/dev/video0"),
            link("/dev/v4l/by-path/platform-vivid.0-video-index0", "/dev/video2"),
        ];
        assert_eq!(path_of("/dev/video0", &names, &links), "/dev/v4l/by-id/usb-046d_C920_AB12-video-index0");
        assert_eq!(path_of("/dev/video2", &names, &links), "/dev/v4l/by-path/platform-vivid.0-video-index0");
        assert_eq!(path_of("/dev/video4", &names, &links), "/dev/video4");
    }

    #[test]
    fn twins_that_share_one_id_go_by_their_ports() {
        let names = [("/dev/video0", "HD Webcam"), ("/dev/video2", "HD Webcam")];
        let links = [
            link("/dev/v4l/by-id/usb-HD_Webcam-video-index0", "/dev/video2"),
            link("/dev/v4l/by-path/usb-1-video-index0", "/dev/video0"),
            link("/dev/v4l/by-path/usb-2-video-index0", "/dev/video2"),
        ];
        assert_eq!(path_of("/dev/video0", &names, &links), "/dev/v4l/by-path/usb-1-video-index0");
        assert_eq!(path_of("/dev/video2", &names, &links), "/dev/v4l/by-path/usb-2-video-index0");
    }

    #[test]
    fn nodes_come_by_number_and_links_shortest_first() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["video10", "video2", "video", "videox", "v4l-subdev0", "vbi0"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let nodes = nodes_in(folder.path()).unwrap();
        assert_eq!(nodes, [folder.path().join("video2"), folder.path().join("video10")]);
        let links = tempfile::tempdir().unwrap();
        for name in ["pci-usbv2-0:1-index0", "pci-usb-0:1-index0"] {
            std::os::unix::fs::symlink(&nodes[0], links.path().join(name)).unwrap();
        }
        std::os::unix::fs::symlink("/nowhere", links.path().join("stale")).unwrap();
        let names: Vec<_> = links_in(links.path()).into_iter().map(|link| link.path).collect();
        assert_eq!(names, [links.path().join("pci-usb-0:1-index0"), links.path().join("pci-usbv2-0:1-index0")]);
        assert!(links_in(Path::new("/nowhere")).is_empty());
    }
}
