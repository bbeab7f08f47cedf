//! The shape that the tiles of all instruction sets share: sums in registers, one broadcast input for each pixel.
//!
//! An instruction set says what its vectors do ([`Floats`], [`Bytes`]); its file wraps [`byte_tile`] and [`float_tile`]
//! into functions that enable its features, so that all is inlined there into one loop.

use crate::engine::kernels::{ByteTile, FloatTile, Sums};

/// Vectors of floats.
///
/// # Safety
/// The caller of any of the functions has checked that the machine has the instruction set. Pointers need no alignment
/// beyond that of their type.
pub(super) trait Floats {
    type Floats: Copy;
    /// Lanes in a vector.
    const LANES: usize;

    /// Loads one vector.
    unsafe fn load_floats(from: *const f32) -> Self::Floats;
    /// Stores one vector.
    unsafe fn store_floats(floats: Self::Floats, to: *mut f32);
    /// One number in all lanes.
    unsafe fn broadcast_float(from: *const f32) -> Self::Floats;
    /// `a × b + c`, rounded once.
    unsafe fn fused(a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
}

/// Vectors of integers: sums, and the products that they are made of.
///
/// # Safety
/// As [`Floats`].
pub(super) trait Bytes: Floats {
    type Integers: Copy;

    /// Loads one vector of sums.
    unsafe fn load_sums(from: *const i32) -> Self::Integers;
    /// `sum as f32 × multiplier`.
    unsafe fn scale(sums: Self::Integers, multipliers: Self::Floats) -> Self::Floats;
    /// What a requantization has for all channels.
    unsafe fn bounds(low: f32, high: f32, offset: i32) -> Bounds<Self>;
    /// Stores a byte of each lane: `round(clamp(float, low, high)) + offset`.
    unsafe fn store_bytes<const VECTORS: usize>(floats: [Self::Floats; VECTORS], bounds: Bounds<Self>, to: *mut u8);
}

/// What a requantization has for all channels, in all lanes.
///
/// The lower bound can be left to the words that two vectors are narrowed to: what is too low for `i32` becomes the lowest
/// `i32`, and that the lowest `i16`. Too high floats become the lowest `i32` as well, and have to be bounded before.
pub(super) struct Bounds<L: Bytes + ?Sized> {
    pub(super) low: L::Floats,
    pub(super) high: L::Floats,
    /// Lanes of 16 bits.
    pub(super) low_words: L::Integers,
    /// Lanes of 16 bits.
    pub(super) offset_words: L::Integers,
}

impl<L: Bytes + ?Sized> Clone for Bounds<L> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<L: Bytes + ?Sized> Copy for Bounds<L> {}

/// An instruction that adds the products of four unsigned and four signed bytes to each lane.
///
/// # Safety
/// As [`Floats`].
pub(super) trait Vnni: Bytes {
    /// Loads one vector of weights, aligned to its size.
    unsafe fn load_weights(from: *const u8) -> Self::Integers;
    /// Four bytes in all lanes.
    unsafe fn broadcast_group(from: *const u8) -> Self::Integers;
    /// Adds the products.
    unsafe fn add_products(sums: Self::Integers, inputs: Self::Integers, weights: Self::Integers) -> Self::Integers;
}

/// Bytes of a group of inputs, and of the weights of a group for one channel.
const GROUP_LEN: usize = 4;

/// Adds one group's products to the sums of each pixel; the pixels' inputs lie `input_stride` bytes apart.
///
/// # Safety
/// As [`byte_tile`].
#[inline(always)]
unsafe fn add_group<L: Vnni, const VECTORS: usize, const PIXELS: usize>(
    sums: &mut [[L::Integers; VECTORS]; PIXELS],
    input: *const u8,
    input_stride: usize,
    weights: *const u8,
) {
    // SAFETY: what the caller promises.
    unsafe {
        let mut of_group = [L::load_weights(weights); VECTORS];
        for vector in 1..VECTORS {
            of_group[vector] = L::load_weights(weights.wrapping_add(vector * L::LANES * GROUP_LEN));
        }
        for pixel in 0..PIXELS {
            let inputs = L::broadcast_group(input.wrapping_add(pixel.wrapping_mul(input_stride)));
            for vector in 0..VECTORS {
                sums[pixel][vector] = L::add_products(sums[pixel][vector], inputs, of_group[vector]);
            }
        }
    }
}

/// Computes a tile of `PIXELS` pixels and `VECTORS` vectors of channels.
///
/// # Safety
/// The tile's pointers hold as [`ByteTile`] says, for `PIXELS` pixels and `VECTORS × LANES` channels, and the machine
/// has the instruction set of `L`.
#[inline(always)]
pub(super) unsafe fn byte_tile<L: Vnni, const VECTORS: usize, const PIXELS: usize>(tile: &ByteTile) {
    // SAFETY: all pointers stay within what the caller promises of the tile.
    unsafe {
        let mut sums = first_sums::<L, VECTORS, PIXELS>(tile);
        let mut weights = tile.weights;
        for span in 0..tile.span_count {
            let mut input = tile.input.wrapping_add(*tile.spans.add(span));
            for _ in 0..tile.span_groups {
                add_group::<L, VECTORS, PIXELS>(&mut sums, input, tile.input_stride, weights);
                weights = weights.wrapping_add(VECTORS * L::LANES * GROUP_LEN);
                input = input.wrapping_add(GROUP_LEN);
            }
        }
        store_sums::<L, VECTORS, PIXELS>(tile, sums);
    }
}

/// The sums before anything is added: the biases.
///
/// # Safety
/// As [`byte_tile`].
#[inline(always)]
pub(super) unsafe fn first_sums<L: Bytes, const VECTORS: usize, const PIXELS: usize>(
    tile: &ByteTile,
) -> [[L::Integers; VECTORS]; PIXELS] {
    // SAFETY: what the caller promises.
    unsafe {
        let mut sums = [[L::load_sums(tile.bias); VECTORS]; PIXELS];
        for vector in 1..VECTORS {
            let bias = L::load_sums(tile.bias.wrapping_add(vector * L::LANES));
            for pixel in 0..PIXELS {
                sums[pixel][vector] = bias;
            }
        }
        sums
    }
}

/// Writes what the sums become.
///
/// # Safety
/// As [`byte_tile`].
#[inline(always)]
pub(super) unsafe fn store_sums<L: Bytes, const VECTORS: usize, const PIXELS: usize>(
    tile: &ByteTile,
    sums: [[L::Integers; VECTORS]; PIXELS],
) {
    // SAFETY: what the caller promises.
    unsafe {
        let mut multipliers = [L::load_floats(tile.multipliers); VECTORS];
        for vector in 1..VECTORS {
            multipliers[vector] = L::load_floats(tile.multipliers.wrapping_add(vector * L::LANES));
        }
        let mut output = tile.output;
        match tile.becomes {
            Sums::Bytes { low, high, offset } => {
                let bounds = L::bounds(low, high, offset);
                for pixel in 0..PIXELS {
                    let mut floats = [L::scale(sums[pixel][0], multipliers[0]); VECTORS];
                    for vector in 1..VECTORS {
                        floats[vector] = L::scale(sums[pixel][vector], multipliers[vector]);
                    }
                    L::store_bytes(floats, bounds, output);
                    output = output.wrapping_add(tile.output_stride);
                }
            }
            Sums::Floats => {
                for pixel in 0..PIXELS {
                    for vector in 0..VECTORS {
                        let floats = L::scale(sums[pixel][vector], multipliers[vector]);
                        L::store_floats(floats, output.cast::<f32>().wrapping_add(vector * L::LANES));
                    }
                    output = output.wrapping_add(tile.output_stride);
                }
            }
        }
    }
}

/// Computes a tile of `PIXELS` pixels and `VECTORS` vectors of channels.
///
/// # Safety
/// The tile's pointers hold as [`FloatTile`] says, for `PIXELS` pixels and `VECTORS × LANES` channels, and the machine
/// has the instruction set of `L`.
#[inline(always)]
pub(super) unsafe fn float_tile<L: Floats, const VECTORS: usize, const PIXELS: usize>(tile: &FloatTile) {
    // SAFETY: all pointers stay within what the caller promises of the tile.
    unsafe {
        let mut sums = [[L::load_floats(tile.bias); VECTORS]; PIXELS];
        for vector in 1..VECTORS {
            let bias = L::load_floats(tile.bias.wrapping_add(vector * L::LANES));
            for pixel in 0..PIXELS {
                sums[pixel][vector] = bias;
            }
        }
        let mut weights = tile.weights;
        for span in 0..tile.span_count {
            let mut input = tile.input.wrapping_add(*tile.spans.add(span));
            for _ in 0..tile.span_len {
                let mut of_group = [L::load_floats(weights); VECTORS];
                for vector in 1..VECTORS {
                    of_group[vector] = L::load_floats(weights.wrapping_add(vector * L::LANES));
                }
                for pixel in 0..PIXELS {
                    let number = L::broadcast_float(input.wrapping_add(pixel.wrapping_mul(tile.input_stride)));
                    for vector in 0..VECTORS {
                        sums[pixel][vector] = L::fused(number, of_group[vector], sums[pixel][vector]);
                    }
                }
                weights = weights.wrapping_add(VECTORS * L::LANES);
                input = input.wrapping_add(1);
            }
        }
        let mut output = tile.output;
        for pixel in 0..PIXELS {
            for vector in 0..VECTORS {
                L::store_floats(sums[pixel][vector], output.wrapping_add(vector * L::LANES));
            }
            output = output.wrapping_add(tile.output_stride);
        }
    }
}

/// Calls the function with the tile's number of pixels as its last const argument: one copy of the loop for each number.
macro_rules! by_pixels {
    ($tile:ident, $function:ident, $vectors:literal, [$($pixels:literal)*]) => {
        match $tile.pixels {
            // SAFETY: what the caller promises of the tile and of the machine is what the function asks for.
            $($pixels => unsafe { $function::<$vectors, $pixels>($tile) },)*
            pixels => unreachable!("a tile has no {pixels} pixels"),
        }
    };
}
pub(super) use by_pixels;
