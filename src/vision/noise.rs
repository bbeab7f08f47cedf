//! Seeded noise for the tests of this module.

/// SplitMix64 (Steele, Lea and Flood, 2014): the same numbers on every machine.
pub(super) struct Noise(u64);

impl Noise {
    pub(super) fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(super) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// A JPEG with an EXIF segment that states an orientation.
pub(super) fn with_exif(jpeg: &[u8], orientation: u16, little_endian: bool) -> Vec<u8> {
    let short = |value: u16| if little_endian { value.to_le_bytes() } else { value.to_be_bytes() };
    let long = |value: u32| if little_endian { value.to_le_bytes() } else { value.to_be_bytes() };
    let mut exif = b"Exif\0\0".to_vec();
    exif.extend(if little_endian { b"II*\0" } else { b"MM\0*" });
    exif.extend(long(8));
    exif.extend(short(2));
    // ImageWidth first, so that the tag has to be looked for.
    for (tag, value) in [(0x0100, 640), (0x0112, orientation)] {
        exif.extend([short(tag), short(3)].concat());
        exif.extend(long(1));
        exif.extend([short(value), short(0)].concat());
    }
    exif.extend(long(0));
    let len = (exif.len() as u16 + 2).to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &len, &exif, &jpeg[2..]].concat()
}
