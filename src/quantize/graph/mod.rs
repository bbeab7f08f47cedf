//! A float YOLO as a graph whose convolutions can be quantized, and its way back into a file.
//!
//! `read` brings whatever was exported into one form, `activations` finds the tensors that get a quantizer, and `write`
//! puts the quantizers in. Decides nothing about numbers: ranges, and what stays in float, come in as a [`Recipe`].

mod activations;
mod opset;
mod read;
mod save;
#[cfg(test)]
mod tests;
mod write;

use std::{collections::BTreeSet, fmt, path::Path};

use anyhow::Result;

use crate::engine::float_file::FloatFile;

pub use save::save;

/// A float YOLO whose convolutions can be quantized.
#[derive(Clone)]
pub struct FloatModel {
    file: FloatFile,
    /// The nodes of the convolutions.
    nodes: Vec<usize>,
    /// Those of the convolutions, in their order.
    weights: Vec<Weights>,
    convolutions: Vec<Convolution>,
    activations: Vec<Activation>,
    groups: usize,
}

/// The constants of a convolution.
#[derive(Clone, Debug)]
struct Weights {
    /// What the constant is called that nothing else reads.
    name: String,
    /// The same for the bias, whether there is one or not.
    bias_name: String,
    /// Output channels, input channels of one group, rows, columns.
    shape: [usize; 4],
    values: Vec<f32>,
    bias: Option<Vec<f32>>,
}

/// A convolution of the model.
#[derive(Clone, Debug, PartialEq)]
pub struct Convolution {
    /// The node's name in the file.
    pub name: String,
    /// The activation that it reads, as an index into [`FloatModel::activations`]; `None` where it cannot run in int8
    /// and stays in float whatever a recipe says.
    pub input: Option<usize>,
    /// The tensor that it makes, before its [`function`](Self::function); it has the same name in the quantized model.
    pub output: String,
    /// Output channels, input channels of one group, rows, columns.
    pub shape: [usize; 4],
    /// Groups of channels: one, or for a depthwise convolution as many as there are channels.
    pub groups: usize,
    /// Multiplications that are each added to a sum; zero where the size of the output is not known.
    pub macs: u64,
    /// What its output goes through before it is quantized.
    pub function: Function,
    /// Whether it is one of the last: no convolution in int8 computes on what comes of it. Its output stays in float.
    pub is_last: bool,
}

/// The activation function behind a convolution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Function {
    /// None: the output is read as it is, by nodes that are no activation function.
    Linear,
    /// `max(x, 0)`
    Relu,
    /// `x` above zero, `slope × x` below.
    LeakyRelu {
        /// What numbers below zero are multiplied by.
        slope: f32,
    },
    /// `x × sigmoid(x)`
    Silu,
    /// Another function of one number, or several readers that differ.
    Other,
}

/// A tensor that gets a quantizer.
#[derive(Clone, Debug, PartialEq)]
pub struct Activation {
    /// Its name in the file. In the quantized model the tensor of this name is the one before it is rounded.
    pub tensor: String,
    /// Tensors of the same group share one scale and one zero point, so that slices, poolings and the like move whole
    /// numbers. Counts from zero; the groups are numbered without gaps.
    pub group: usize,
    /// The range that the tensor has whatever the picture is, lowest and highest, as behind a sigmoid.
    pub fixed: Option<[f32; 2]>,
    /// Whether it is the model's input: pixels in the units that the model takes, mostly 0 to 1, else 0 to 255.
    pub is_input: bool,
}

/// How to quantize a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recipe {
    /// The lowest and the highest number of each group of activations; zero is taken in where it lies outside.
    pub ranges: Vec<[f32; 2]>,
    /// For each convolution the lowest and the highest number of [`Convolution::output`], where it is rounded before its
    /// function, too: a function of 256 numbers is a table, which is several times as fast as computing it, but less
    /// exact by the second rounding. What a SiLU makes of numbers below -6 is nearly zero, so the lowest need not be
    /// below that. `None` or missing: it is not rounded there. Nothing to convolutions in float and to the last ones.
    pub outputs: Vec<Option<[f32; 2]>>,
    /// Convolutions that stay in float, by index.
    pub float: BTreeSet<usize>,
    /// For each convolution the scales of its weights, one for each output channel; `None` or missing: the largest weight
    /// of a channel becomes 127.
    pub weight_scales: Vec<Option<Vec<f32>>>,
    /// For each convolution its weights in whole numbers from -127 to 127, in the order of [`FloatModel::weights`], in
    /// steps of the scales, which have to be given as well; `None` or missing: each weight is rounded to the nearest.
    pub whole_weights: Vec<Option<Vec<i8>>>,
    /// For each convolution the bias that takes the place of its own, one number for each output channel.
    pub biases: Vec<Option<Vec<f32>>>,
}

impl FloatModel {
    /// Reads a float export, or a dynamically quantized file, whose weights are dequantized. Batch normalization behind
    /// a convolution becomes part of it.
    ///
    /// # Errors
    /// Where the file is no ONNX, is quantized with ranges already, has no convolution that can run in int8, or is of an
    /// operator set that quantizers do not exist in; says what to do.
    pub fn read(path: &Path) -> Result<Self> {
        read::read(path)
    }

    /// All convolutions, in the order in which they run.
    pub fn convolutions(&self) -> &[Convolution] {
        &self.convolutions
    }

    /// The tensors that get a quantizer where all convolutions run in int8, in the order in which they are made.
    pub fn activations(&self) -> &[Activation] {
        &self.activations
    }

    /// The number of groups of activations.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// A convolution's weights, row-major as [`Convolution::shape`] says, and its bias.
    pub fn weights(&self, conv: usize) -> (&[f32], Option<&[f32]>) {
        let Weights { values, bias, .. } = &self.weights[conv];
        (values, bias.as_deref())
    }

    /// Replaces a convolution's weights and its bias.
    ///
    /// # Panics
    /// Where their number differs, or one is not finite.
    pub fn set_weights(&mut self, conv: usize, weights: Vec<f32>, bias: Option<Vec<f32>>) {
        let own = &mut self.weights[conv];
        assert_eq!(weights.len(), own.values.len(), "weights are replaced by as many");
        assert!(bias.as_ref().is_none_or(|bias| bias.len() == own.shape[0]), "a bias has one number for each channel");
        let are_finite = weights.iter().chain(bias.iter().flatten()).all(|number| number.is_finite());
        assert!(are_finite, "weights are replaced by finite ones");
        (own.values, own.bias) = (weights, bias);
    }

    /// The float model as a file with these tensors as further outputs, behind its own and in this order. The model's
    /// input and what is an output anyhow are left out.
    ///
    /// # Errors
    /// Where there is no such tensor.
    pub fn exposing(&self, tensors: &[&str]) -> Result<Vec<u8>> {
        write::floats(self, tensors)
    }

    /// The quantized model as a file: the same bytes for the same recipe.
    ///
    /// # Errors
    /// Where the recipe does not fit the model, or a number in it is not finite.
    pub fn quantized(&self, recipe: &Recipe) -> Result<Vec<u8>> {
        self.quantized_exposing(recipe, &[])
    }

    /// The quantized model with these tensors of the float model as further outputs; see [`Activation::tensor`].
    ///
    /// # Errors
    /// As [`Self::quantized`]; or where there is no such tensor.
    pub fn quantized_exposing(&self, recipe: &Recipe, tensors: &[&str]) -> Result<Vec<u8>> {
        write::quantized(self, recipe, tensors)
    }
}

impl fmt::Debug for FloatModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FloatModel")
            .field("convolutions", &self.convolutions)
            .field("activations", &self.activations)
            .finish_non_exhaustive()
    }
}
