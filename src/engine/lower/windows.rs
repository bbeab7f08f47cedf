//! Operators on planes whose windows do not multiply: poolings and upsamplings.

use tract_onnx::pb::NodeProto;

use super::{
    super::proto::{attribute, floats},
    Refused,
    attributes::{int, pads, pair, text},
    node::Lowering,
    value::{Kind, ValueId, Window},
};

impl<'a> Lowering<'a> {
    pub(super) fn max_pool(&mut self, node: &'a NodeProto) -> Result<ValueId, Refused> {
        let input = self.input(node, 0)?;
        let &[1, channels, rows, columns] = self.builder.tape.dims(input) else {
            return Err(Refused::new("a pooling that is not of planes"));
        };
        let (kernel, stride) = (pair(node, "kernel_shape", [0, 0])?, pair(node, "strides", [1, 1])?);
        let is_ceil = int(node, "ceil_mode").is_some_and(|found| found != 0);
        if pair(node, "dilations", [1, 1])? != [1, 1] || is_ceil || node.output.len() != 1 || kernel.contains(&0) {
            return Err(Refused::new("a pooling with dilations, rounded up, or with indices"));
        }
        let pads = pads(node, [rows, columns], kernel, stride)?;
        if pads.iter().zip(kernel.iter().cycle()).any(|(pad, kernel)| pad >= kernel) {
            return Err(Refused::new("a pooling of nothing but padding"));
        }
        let mut size = [0; 2];
        for side in 0..2 {
            let padded = [rows, columns][side] + pads[side] + pads[side + 2];
            size[side] = padded.checked_sub(kernel[side]).map_or(0, |room| room / stride[side] + 1);
        }
        let window = Window { kernel, stride, pads: [pads[0], pads[1]] };
        let dims = [1, channels, size[0], size[1]];
        Ok(self.builder.tape.push(&dims, Kind::MaxPool { inner: input, window }))
    }

    pub(super) fn resize(&mut self, node: &'a NodeProto) -> Result<ValueId, Refused> {
        let input = self.input(node, 0)?;
        let &[1, channels, rows, columns] = self.builder.tape.dims(input) else {
            return Err(Refused::new("a resize that is not of planes"));
        };
        let is_repeat = text(node, "mode", "nearest") == "nearest"
            && match text(node, "coordinate_transformation_mode", "half_pixel").as_str() {
                "asymmetric" => text(node, "nearest_mode", "round_prefer_floor") == "floor",
                "half_pixel" => text(node, "nearest_mode", "round_prefer_floor").starts_with("round_prefer"),
                _ => false,
            };
        if attribute(node, "axes").is_some() || text(node, "keep_aspect_ratio_policy", "stretch") != "stretch" {
            return Err(Refused::new("a resize of some axes, or one that keeps the aspect ratio"));
        }
        let scales = node.input.get(2).and_then(|name| self.graph.constants.get(name)).and_then(floats);
        let factors: Vec<f32> = match scales.filter(|scales| scales.len() == 4) {
            Some(scales) => scales,
            None => match self.numbers(node, 3)?.as_deref() {
                Some(&[batch, planes, height, width]) => vec![
                    batch as f32,
                    planes as f32 / channels as f32,
                    height as f32 / rows as f32,
                    width as f32 / columns as f32,
                ],
                _ => return Err(Refused::new("a resize to an open size")),
            },
        };
        let whole = |factor: f32| factor >= 1.0 && factor.fract() == 0.0 && factor <= 64.0;
        if !is_repeat || factors[..2] != [1.0, 1.0] || !factors.iter().all(|factor| whole(*factor)) {
            return Err(Refused::new("a resize that does not repeat pixels"));
        }
        let factors = [factors[2] as usize, factors[3] as usize];
        let dims = [1, channels, rows * factors[0], columns * factors[1]];
        Ok(self.builder.tape.push(&dims, Kind::Upsample { inner: input, factors }))
    }
}
