//! Concatenations, cuts and other arrangements, attention, detections, and what is left to tract.

use super::{Attr, Elem, Maker, Style};

impl Maker<'_> {
    pub(super) fn concat(&mut self) {
        let first = self.any();
        let dims = self.tensors[first].dims.clone();
        let axis = if self.bytes.one_in(4) { self.bytes.below(dims.len() - 1) + 1 } else { 1 };
        let fits = |other: &[usize]| {
            other.len() == dims.len() && (0..dims.len()).all(|at| at == axis || other[at] == dims[at])
        };
        let same: Vec<usize> = (0..self.tensors.len()).filter(|index| fits(&self.tensors[*index].dims)).collect();
        let mut parts = vec![first];
        for _ in 0..1 + self.bytes.below(3) {
            let at = self.bytes.below(same.len());
            parts.push(same[at]);
        }
        if self.bytes.flag() {
            parts.reverse();
        }
        let len: usize = parts.iter().map(|part| self.tensors[*part].dims[axis]).sum();
        let mut out = dims.clone();
        out[axis] = len;
        if out.iter().product::<usize>() > 12_000 {
            return;
        }
        let shown = if self.bytes.flag() { axis as i64 } else { axis as i64 - dims.len() as i64 };
        let attributes = [("axis", Attr::Int(shown))];
        if self.style == Style::QOperator && self.bytes.flag() {
            let mut output = self.grid();
            let mut inputs = vec![output.scale_name.clone(), output.zero_name.clone()];
            for part in parts {
                let codes = self.codes(part);
                inputs.extend([codes.name, codes.scale_name, codes.zero_name]);
            }
            let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
            output.name = self.node("QLinearConcat", &inputs, &attributes);
            return self.push_codes(&out, output);
        }
        let names: Vec<String> = parts.iter().map(|part| self.real(*part)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let name = self.node("Concat", &names, &attributes);
        self.push_rounded(&out, name);
    }

    pub(super) fn split(&mut self) {
        let index = self.any();
        let dims = self.tensors[index].dims.clone();
        let axis = if self.bytes.one_in(4) { dims.len() - 1 } else { 1 };
        if dims[axis] < 2 {
            return;
        }
        let first = 1 + self.bytes.below(dims[axis] - 1);
        let lens = self.longs(&[first as i64, (dims[axis] - first) as i64]);
        let real = self.real(index);
        let names = [0; 2].map(|_| self.name());
        let attributes = [("axis", Attr::Int(axis as i64))];
        self.model.node("Split", &[&real, &lens], &names.each_ref().map(String::as_str), &attributes);
        for (name, len) in names.into_iter().zip([first, dims[axis] - first]) {
            let mut part = dims.clone();
            part[axis] = len;
            self.push_rounded(&part, name);
        }
    }

    pub(super) fn slice(&mut self) {
        let index = self.any();
        let dims = self.tensors[index].dims.clone();
        let axis = 1 + self.bytes.below(dims.len() - 1);
        let start = self.bytes.below(dims[axis]);
        let mut step = 1 + self.bytes.below(3);
        // tract pulls such a slice through what makes its input, and forgets where it starts; of an output it does not.
        if step > 1 && self.tensors[index].real.as_deref() != Some("x") {
            let real = self.tensors[index].real.clone();
            match real.filter(|_| self.style != Style::QOperator && self.style != Style::Everything) {
                Some(real) => self.kept.push((real, dims.clone())),
                None => step = 1,
            }
        }
        let end = if self.bytes.flag() { i64::MAX } else { dims[axis] as i64 };
        let shown = if self.bytes.flag() { axis as i64 } else { axis as i64 - dims.len() as i64 };
        let from = if self.bytes.flag() { start as i64 } else { start as i64 - dims[axis] as i64 };
        let lists = [from, end, shown, step as i64].map(|number| self.longs(&[number]));
        let mut out = dims.clone();
        out[axis] = (dims[axis] - start).div_ceil(step);
        self.mover("Slice", index, &lists.each_ref().map(String::as_str), &[], &out);
    }

    /// The same numbers with other dimensions, or in another order.
    pub(super) fn rearrange(&mut self) {
        let index = self.any();
        let dims = self.tensors[index].dims.clone();
        match self.bytes.below(3) {
            0 => {
                let perm = match (dims.len(), self.bytes.below(4)) {
                    (4, 0) => vec![0, 2, 3, 1],
                    (4, 1) => vec![0, 1, 3, 2],
                    (4, 2) => vec![0, 3, 1, 2],
                    (4, _) => vec![0, 2, 1, 3],
                    (rank, _) => [0].into_iter().chain((1..rank as i64).rev()).collect(),
                };
                let out: Vec<usize> = perm.iter().map(|axis| dims[*axis as usize]).collect();
                self.mover("Transpose", index, &[], &[("perm", Attr::Ints(&perm))], &out);
            }
            1 if dims.len() == 4 => self.reshape(index, &[1, dims[1], dims[2] * dims[3]]),
            2 if dims.len() == 4 && dims[1].is_multiple_of(2) => {
                let out = match self.bytes.below(3) {
                    0 => vec![1, 2, dims[1] / 2, dims[2] * dims[3]],
                    1 => vec![1, dims[1] / 2, dims[2] * 2, dims[3]],
                    _ => vec![1, 2, dims[1] / 2, dims[2], dims[3]],
                };
                self.reshape(index, &out);
            }
            _ => self.reshape(index, &[1, dims.iter().product(), 1, 1]),
        }
    }

    fn reshape(&mut self, index: usize, dims: &[usize]) {
        let mut wanted: Vec<i64> = dims.iter().map(|dim| *dim as i64).collect();
        if self.bytes.flag() {
            let open = self.bytes.below(wanted.len());
            wanted[open] = -1;
        }
        let wanted = self.longs(&wanted);
        self.mover("Reshape", index, &[&wanted], &[], dims);
    }

    /// Softmax of the products of a tensor's columns, as weights of its columns.
    pub(super) fn attention(&mut self) {
        let index = self.any_planes();
        let dims = self.tensors[index].dims.clone();
        let pixels = dims[2] * dims[3];
        let heads = if dims[1].is_multiple_of(2) { 2 } else { 1 };
        let depth = dims[1] / heads;
        if pixels > 100 || depth == 0 {
            return;
        }
        self.reshape(index, &[1, heads, depth, pixels]);
        let flat = self.tensors.len() - 1;
        let real = self.real(flat);
        let rows = self.node("Transpose", &[&real], &[("perm", Attr::Ints(&[0, 1, 3, 2]))]);
        let name = self.node("MatMul", &[&rows, &real], &[]);
        let scale = self.floats(&[], &[1.0 / (depth as f32).sqrt()]);
        let name = self.node("Mul", &[&name, &scale], &[]);
        self.push_rounded(&[1, heads, pixels, pixels], name);
        let last = self.tensors.len() - 1;
        let axis = self.bytes.pick(&[-1, 3, 2]);
        self.mover("Softmax", last, &[], &[("axis", Attr::Int(axis))], &[1, heads, pixels, pixels]);
        let last = self.tensors.len() - 1;
        let weights = self.real(last);
        let weights = self.node("Transpose", &[&weights], &[("perm", Attr::Ints(&[0, 1, 3, 2]))]);
        let name = self.node("MatMul", &[&real, &weights], &[]);
        self.push_rounded(&[1, heads, depth, pixels], name);
        let last = self.tensors.len() - 1;
        self.reshape(last, &dims);
    }

    /// What programs cannot do.
    pub(super) fn odd(&mut self) {
        let index = self.any();
        let mut dims = self.tensors[index].dims.clone();
        let real = self.real(index);
        match self.bytes.below(4) {
            0 => {
                let name = self.node("Abs", &[&real], &[]);
                self.push_rounded(&dims, name);
            }
            1 if dims.len() == 4 => {
                let name = self.node("GlobalAveragePool", &[&real], &[]);
                dims[2..].fill(1);
                self.push_rounded(&dims, name);
            }
            2 => {
                let name = self.node("Softplus", &[&real], &[]);
                self.push_rounded(&dims, name);
            }
            _ => {
                let axis = dims.len() - 1;
                let name = self.node("Softmax", &[&real], &[("axis", Attr::Int(axis as i64))]);
                self.push_rounded(&dims, name);
            }
        }
    }

    /// The tail of an end-to-end head on the last planes that have enough channels; whether there are any.
    pub(super) fn detections(&mut self) -> bool {
        let is_head = |index: &usize| {
            let dims = &self.tensors[*index].dims;
            dims.len() == 4 && dims[1] > 4 && dims[2] * dims[3] > 3
        };
        let Some(index) = (0..self.tensors.len()).rev().find(is_head) else { return false };
        let dims = self.tensors[index].dims.clone();
        let (anchors, classes) = (dims[2] * dims[3], dims[1] - 4);
        let count = 1 + self.bytes.below(anchors.min(20)) as i64;
        let flat = self.longs(&[1, dims[1] as i64, -1]);
        let real = self.real(index);
        let flat = self.node("Reshape", &[&real, &flat], &[]);
        let rows = self.node("Transpose", &[&flat], &[("perm", Attr::Ints(&[0, 2, 1]))]);
        let lens = self.longs(&[4, classes as i64]);
        let [boxes, logits, top, index, best, place] = [0; 6].map(|_| self.name());
        self.model.node("Split", &[&rows, &lens], &[&boxes, &logits], &[("axis", Attr::Int(2))]);
        let scores = self.node("Sigmoid", &[&logits], &[]);
        let maxima = self.node("ReduceMax", &[&scores], &[("axes", Attr::Ints(&[-1])), ("keepdims", Attr::Int(0))]);
        let k = self.longs(&[count]);
        let last = self.longs(&[-1]);
        let by_class = self.longs(&[1, 1, classes as i64]);
        let by_side = self.longs(&[1, 1, 4]);
        let class_count = self.name();
        self.model.longs(&class_count, &[], &[classes as i64]);
        self.model.node("TopK", &[&maxima, &k], &[&top, &index], &[]);
        let index = self.node("Unsqueeze", &[&index, &last], &[]);
        let tiled = self.node("Tile", &[&index, &by_class], &[]);
        let along = [("axis", Attr::Int(1))];
        let gathered = self.node("GatherElements", &[&scores, &tiled], &along);
        let flat = self.node("Flatten", &[&gathered], &[]);
        self.model.node("TopK", &[&flat, &k], &[&best, &place], &[]);
        let best = self.node("Unsqueeze", &[&best, &last], &[]);
        let class = self.node("Mod", &[&place, &class_count], &[]);
        let class = self.node("Unsqueeze", &[&class, &last], &[]);
        let class = self.node("Cast", &[&class], &[("to", Attr::Int(Elem::F32 as i64))]);
        let row = self.node("Div", &[&place, &class_count], &[]);
        let index = self.node("Flatten", &[&index], &[("axis", Attr::Int(2))]);
        let picked = self.node("Gather", &[&index, &row], &[("axis", Attr::Int(0))]);
        let picked = self.node("Tile", &[&picked, &by_side], &[]);
        let boxes = self.node("GatherElements", &[&boxes, &picked], &along);
        let name = self.node("Concat", &[&boxes, &best, &class], &[("axis", Attr::Int(-1))]);
        self.push(&[1, count as usize, 6], name);
        true
    }
}
