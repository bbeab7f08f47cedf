//! A real detector of a few kilobytes: it finds bright red and bright green squares on dark ground.
//!
//! The picture is cut into cells of 8 × 8 pixels. A cell is red where its mean of `red − green − blue` (in `0..=1`)
//! exceeds 0.35, green likewise, and each such cell is one detection: class 0 or 1, the cell as box, a confidence near
//! one for bright colours (220, 30, 30) and near zero for grey, white, yellow and half-covered cells. It needs no
//! training, and its answers can be told from the picture by hand.

use super::onnx::{Attr, Dim, Elem, Model};

/// Pixels along the side of a cell.
pub const CELL_PX: usize = 8;

/// Rows in the output of an end-to-end tiny YOLO.
pub const MAX_DET: usize = 10;

/// How the detections lie in the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Head {
    /// `output0`: 1 × 6 × cells; rows centre x, centre y, width, height, red score, green score (YOLOv8, YOLO11).
    #[default]
    AnchorFree,
    /// `output0`: 1 × 10 × 6, best first: x1, y1, x2, y2, confidence, class (YOLOv10, YOLO26).
    EndToEnd,
}

/// Which tiny YOLO to build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TinyYolo {
    /// Height and width of the input in pixels, multiples of 8.
    pub input_size: [usize; 2],
    /// The layout of the output.
    pub head: Head,
    /// With the metadata that Ultralytics writes, and without.
    pub metadata: bool,
    /// Batch, height and width are names in the file, not numbers (Ultralytics: `dynamic=True`).
    pub symbolic: bool,
    /// The side of the boxes that an end-to-end head gives, in cells: more than one where what moves from cell to cell is to
    /// overlap with where it was.
    pub box_cells: usize,
    /// Type of the numbers that go in, in `0..=255` for [`Elem::U8`], else in `0..=1`, and of those that come out.
    pub elem: Elem,
}

impl Default for TinyYolo {
    fn default() -> Self {
        Self {
            input_size: [64, 64],
            head: Head::AnchorFree,
            metadata: true,
            symbolic: false,
            box_cells: 1,
            elem: Elem::F32,
        }
    }
}

/// The bytes of the ONNX file. Input `images`: 1 × 3 × height × width, planes red, green, blue, in `0..=1`.
pub fn tiny_yolo(options: TinyYolo) -> Vec<u8> {
    let [height, width] = options.input_size;
    let [rows, columns] = [height / CELL_PX, width / CELL_PX];
    let mut model = Model::new(17);
    let size = |symbol, value: usize| match options.symbolic {
        true => Dim::Symbol(symbol),
        false => Dim::Fixed(value as i64),
    };
    let dims = [size("batch", 1), Dim::Fixed(3), size("height", height), size("width", width)];
    model.input("images", options.elem, &dims);
    let scores = scores(&mut model, options.elem);
    let centres = match options.symbolic {
        true => computed_centres(&mut model),
        false => constant_centres(&mut model, rows, columns),
    };
    let out_elem = if options.elem == Elem::F16 { Elem::F16 } else { Elem::F32 };
    let found = match options.head {
        Head::AnchorFree => {
            model.output("output0", out_elem, &[size("batch", 1), Dim::Fixed(6), size("anchors", rows * columns)]);
            anchor_free(&mut model, &centres, &scores)
        }
        Head::EndToEnd => {
            model.output("output0", out_elem, &[size("batch", 1), Dim::Fixed(MAX_DET as i64), Dim::Fixed(6)]);
            end_to_end(&mut model, &centres, &scores, options.box_cells)
        }
    };
    model.node("Cast", &[&found], &["output0"], &[("to", Attr::Int(out_elem as i64))]);
    if options.metadata {
        metadata(&mut model, &options);
    }
    model.to_bytes()
}

/// Scores in `0..=1`: 1 × 2 × rows × columns.
fn scores(model: &mut Model, elem: Elem) -> String {
    const STEEPNESS: f32 = 24.0;
    const THRESHOLD: f32 = 0.35;
    let unit = if elem == Elem::U8 { 255.0 } else { 1.0 };
    let mean = STEEPNESS / ((CELL_PX * CELL_PX) as f32 * unit);
    let [for_it, against] = [[mean; CELL_PX * CELL_PX], [-mean; CELL_PX * CELL_PX]];
    let weights = [[for_it, against, against], [against, for_it, against]].concat().concat();
    let cell = CELL_PX as i64;
    let weights = model.floats("weights", &[2, 3, cell, cell], &weights);
    let bias = model.floats("bias", &[2], &[-STEEPNESS * THRESHOLD; 2]);
    let pixels = model.node("Cast", &["images"], &["pixels"], &[("to", Attr::Int(Elem::F32 as i64))]);
    let attributes = [("kernel_shape", Attr::Ints(&[cell, cell])), ("strides", Attr::Ints(&[cell, cell]))];
    let logits = model.node("Conv", &[&pixels, &weights, &bias], &["logits"], &attributes);
    model.node("Sigmoid", &[&logits], &["scores"], &[])
}

/// Centres of the cells in pixels, line by line: 1 × 2 × cells, x before y.
fn constant_centres(model: &mut Model, rows: usize, columns: usize) -> String {
    let centre = |index: usize| (index * CELL_PX + CELL_PX / 2) as f32;
    let x = (0..rows * columns).map(|cell| centre(cell % columns));
    let y = (0..rows * columns).map(|cell| centre(cell / columns));
    model.floats("centres", &[1, 2, (rows * columns) as i64], &x.chain(y).collect::<Vec<_>>())
}

/// The same, computed from the size of the scores while the model runs.
fn computed_centres(model: &mut Model) -> String {
    let shape = model.node("Shape", &["scores"], &["shape"], &[]);
    let cell = model.floats("cell", &[], &[CELL_PX as f32]);
    let half = model.floats("half_cell", &[], &[CELL_PX as f32 / 2.0]);
    let (zero, one) = (model.longs("zero", &[], &[0]), model.longs("one", &[], &[1]));
    let size = model.node("Slice", &[&shape, "two_at", "four_at"], &["grid"], &[]);
    model.longs("two_at", &[1], &[2]);
    model.longs("four_at", &[1], &[4]);
    let line = model.longs("line", &[3], &[1, 1, -1]);
    let column = model.longs("column", &[1], &[1]);
    let mut axes = Vec::new();
    for (axis, dim) in [("x", 3), ("y", 2)] {
        let name = |what: &str| format!("{axis}_{what}");
        let index = model.longs(&name("dim"), &[], &[dim]);
        let count = model.node("Gather", &[&shape, &index], &[&name("count")], &[]);
        let steps = model.node("Range", &[&zero, &count, &one], &[&name("steps")], &[]);
        let steps = model.node("Cast", &[&steps], &[&name("float")], &[("to", Attr::Int(Elem::F32 as i64))]);
        let edges = model.node("Mul", &[&steps, &cell], &[&name("edges")], &[]);
        let mut centres = model.node("Add", &[&edges, &half], &[&name("centres")], &[]);
        if axis == "y" {
            centres = model.node("Unsqueeze", &[&centres, &column], &[&name("column")], &[]);
        }
        let all = model.node("Expand", &[&centres, &size], &[&name("all")], &[]);
        axes.push(model.node("Reshape", &[&all, &line], &[&name("line")], &[]));
    }
    model.node("Concat", &[&axes[0], &axes[1]], &["centres"], &[("axis", Attr::Int(1))])
}

fn anchor_free(model: &mut Model, centres: &str, scores: &str) -> String {
    let flat = model.longs("flat", &[3], &[1, 2, -1]);
    let scores = model.node("Reshape", &[scores, &flat], &["class_scores"], &[]);
    let none = model.floats("none", &[], &[0.0]);
    let cell = model.floats("side", &[], &[CELL_PX as f32]);
    let zeros = model.node("Mul", &[centres, &none], &["zeros"], &[]);
    let sizes = model.node("Add", &[&zeros, &cell], &["sizes"], &[]);
    model.node("Concat", &[centres, &sizes, &scores], &["found"], &[("axis", Attr::Int(1))])
}

fn end_to_end(model: &mut Model, centres: &str, scores: &str, box_cells: usize) -> String {
    let half = model.floats("half_side", &[], &[(box_cells * CELL_PX) as f32 / 2.0]);
    let low = model.node("Sub", &[centres, &half], &["low"], &[]);
    let high = model.node("Add", &[centres, &half], &["high"], &[]);
    let corners = model.node("Concat", &[&low, &high], &["corners"], &[("axis", Attr::Int(1))]);
    let boxes = model.node("Transpose", &[&corners], &["boxes"], &[("perm", Attr::Ints(&[0, 2, 1]))]);

    let by_cell = model.node("Transpose", &[scores], &["by_cell"], &[("perm", Attr::Ints(&[0, 2, 3, 1]))]);
    let flat = model.longs("flat", &[2], &[1, -1]);
    let all = model.node("Reshape", &[&by_cell, &flat], &["all_scores"], &[]);
    let count = model.longs("max_det", &[1], &[MAX_DET as i64]);
    model.node("TopK", &[&all, &count], &["best", "index"], &[("axis", Attr::Int(-1))]);
    let classes = model.longs("class_count", &[], &[2]);
    let cell = model.node("Div", &["index", &classes], &["cell_index"], &[]);
    let class = model.node("Mod", &["index", &classes], &["class_index"], &[]);

    let last = model.longs("last", &[1], &[-1]);
    let column = model.node("Unsqueeze", &[&cell, &last], &["cell_column"], &[]);
    let four = model.longs("four_times", &[3], &[1, 1, 4]);
    let cells = model.node("Tile", &[&column, &four], &["cell_indices"], &[]);
    let boxes = model.node("GatherElements", &[&boxes, &cells], &["best_boxes"], &[("axis", Attr::Int(1))]);
    let confidence = model.node("Unsqueeze", &["best", &last], &["confidence"], &[]);
    let class = model.node("Cast", &[&class], &["class_float"], &[("to", Attr::Int(Elem::F32 as i64))]);
    let class = model.node("Unsqueeze", &[&class, &last], &["class"], &[]);
    model.node("Concat", &[&boxes, &confidence, &class], &["found"], &[("axis", Attr::Int(-1))])
}

/// What Ultralytics writes, as Python literals.
fn metadata(model: &mut Model, options: &TinyYolo) {
    let [height, width] = options.input_size;
    let end2end = if options.head == Head::EndToEnd { "True" } else { "False" };
    let dynamic = if options.symbolic { "True" } else { "False" };
    model.metadata("description", "Tiny YOLO that finds red and green squares");
    model.metadata("author", "andon tests");
    model.metadata("version", "8.4.0");
    model.metadata("stride", &CELL_PX.to_string());
    model.metadata("task", "detect");
    model.metadata("batch", "1");
    model.metadata("imgsz", &format!("[{height}, {width}]"));
    model.metadata("names", "{0: 'red', 1: 'green'}");
    model.metadata("args", &format!("{{'batch': 1, 'half': False, 'dynamic': {dynamic}, 'nms': False}}"));
    model.metadata("channels", "3");
    model.metadata("end2end", end2end);
}
