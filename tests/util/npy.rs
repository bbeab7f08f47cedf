//! Reads NumPy's files of 32-bit floats.

use std::{fs, path::Path};

use andon::engine::Tensor;

/// The array in a file, which must hold little-endian floats in C order.
pub fn read(path: &Path) -> Tensor {
    let bytes = fs::read(path).unwrap_or_else(|cause| panic!("{}: {cause}", path.display()));
    assert_eq!(&bytes[..6], b"\x93NUMPY", "{} is no NumPy file", path.display());
    let (length, start) = match bytes[6] {
        1 => (usize::from(u16::from_le_bytes([bytes[8], bytes[9]])), 10),
        _ => (u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]) as usize, 12),
    };
    let header = String::from_utf8_lossy(&bytes[start..start + length]);
    assert!(header.contains("'<f4'") && header.contains("'fortran_order': False"), "{}: {header}", path.display());
    let dims = header.split_once("'shape': (").and_then(|(_, rest)| rest.split_once(')')).expect("a shape").0;
    let shape = dims.split(',').filter_map(|dim| dim.trim().parse().ok()).collect();
    let data = bytes[start + length..].as_chunks().0.iter().map(|number| f32::from_le_bytes(*number)).collect();
    Tensor { shape, data }
}
