//! Reads the keys of one section, and remembers which it was asked for.
//!
//! Every problem is collected instead of ending the reading, so that one run shows all that is to be mended. A key that
//! nobody asked for is unknown, and its error names the nearest that somebody did ask for.

use std::{
    cell::RefCell, collections::BTreeMap, fmt::Display, mem, ops::RangeInclusive, rc::Rc, str::FromStr, time::Duration,
};

use super::document::{Node, Origin, Value};

/// Problems found so far, in the order of reading; shared by all sections of a document.
#[derive(Clone, Default)]
pub(super) struct Problems(Rc<RefCell<Vec<String>>>);

impl Problems {
    /// Adds one: *where, what is wrong; what to do*.
    pub(super) fn add(&self, problem: impl Into<String>) {
        self.0.borrow_mut().push(problem.into());
    }

    /// What was found.
    pub(super) fn into_vec(self) -> Vec<String> {
        self.0.borrow().clone()
    }
}

/// One section of a document while its keys are being read.
pub(super) struct Section {
    /// As the user writes it: `[mqtt]`, `[[camera]] "in"`.
    title: String,
    origin: Origin,
    nodes: BTreeMap<String, Node>,
    asked: Vec<&'static str>,
    /// Where what was taken was written.
    taken: BTreeMap<String, Origin>,
    problems: Problems,
}

impl Section {
    /// A section over a table; anything else is a problem, and reads as an empty section.
    pub(super) fn new(title: impl Into<String>, node: Node, problems: &Problems) -> Self {
        let title = title.into();
        let node = node.read();
        let nodes = match node.value {
            Value::Table(nodes) => nodes,
            other => {
                problems.add(format!("{}: {title} is {}; it is a section of keys", node.origin, other.kind()));
                BTreeMap::new()
            }
        };
        Self {
            title,
            origin: node.origin,
            nodes,
            asked: Vec::new(),
            taken: BTreeMap::new(),
            problems: problems.clone(),
        }
    }

    /// Gives the section a better title once its id is known.
    pub(super) fn retitle(&mut self, title: impl Into<String>) {
        self.title = title.into();
    }

    /// Adds a problem with a key, or with the whole section where `key` is empty. Without an origin it is told where the key
    /// was written, or where the section begins.
    pub(super) fn problem(&self, key: &str, origin: Option<&Origin>, what: impl Display) {
        let written = || self.taken.get(key).or_else(|| self.nodes.get(key).map(|node| &node.origin));
        let origin = origin.or_else(written).unwrap_or(&self.origin);
        let space = if key.is_empty() { "" } else { " " };
        self.problems.add(format!("{origin}: {}{space}{key}: {what}", self.title));
    }

    /// A sub-section; an empty one where the key is missing.
    pub(super) fn section(&mut self, key: &'static str, title: impl Into<String>) -> Option<Section> {
        self.take(key).map(|node| Section::new(title, node, &self.problems))
    }

    /// The sections of a `[[list]]`; a single `[table]` counts as a list of one.
    pub(super) fn sections(&mut self, key: &'static str) -> Vec<Section> {
        let Some(node) = self.take(key) else { return Vec::new() };
        match node.value {
            Value::List(items) => {
                items.into_iter().map(|item| Section::new(format!("[[{key}]]"), item, &self.problems)).collect()
            }
            _ => vec![Section::new(format!("[{key}]"), node, &self.problems)],
        }
    }

    /// A text.
    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        self.text_and_origin(key).map(|(_, text)| text)
    }

    /// A text that means something: a source, a size, one of several words.
    pub(super) fn parsed<T: FromStr<Err: Display>>(&mut self, key: &'static str) -> Option<T> {
        let (origin, text) = self.text_and_origin(key)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.problem(key, Some(&origin), format!("{error:#}"));
                None
            }
        }
    }

    /// One of several words.
    pub(super) fn word<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let (origin, text) = self.text_and_origin(key)?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.problem(key, Some(&origin), format!("\"{text}\" is not one of {}", known.join(", ")));
        }
        found.map(|(_, value)| *value)
    }

    /// A whole number within bounds.
    pub(super) fn integer(&mut self, key: &'static str, bounds: RangeInclusive<i64>) -> Option<i64> {
        let node = self.take(key)?;
        match node.value {
            Value::Integer(number) if bounds.contains(&number) => Some(number),
            Value::Integer(number) => {
                let (low, high) = bounds.into_inner();
                self.problem(
                    key,
                    Some(&node.origin),
                    format!("{number} is out of bounds; it lies between {low} and {high}"),
                );
                None
            }
            other => self.wrong(key, &node.origin, "a whole number", &other),
        }
    }

    /// A number within bounds.
    pub(super) fn number(&mut self, key: &'static str, bounds: RangeInclusive<f64>) -> Option<f64> {
        let node = self.take(key)?;
        let number = match node.value {
            Value::Integer(number) => number as f64,
            Value::Float(number) => number,
            other => return self.wrong(key, &node.origin, "a number", &other),
        };
        if bounds.contains(&number) {
            return Some(number);
        }
        let (low, high) = bounds.into_inner();
        self.problem(key, Some(&node.origin), format!("{number} is out of bounds; it lies between {low} and {high}"));
        None
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        let node = self.take(key)?;
        match node.value {
            Value::Boolean(value) => Some(value),
            other => self.wrong(key, &node.origin, "true or false", &other),
        }
    }

    /// A list of texts.
    pub(super) fn texts(&mut self, key: &'static str) -> Option<Vec<String>> {
        let node = self.take(key)?;
        let Value::List(items) = node.value else {
            return self.wrong(key, &node.origin, "a list of texts", &node.value);
        };
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            match item.value {
                Value::Text(text) => texts.push(text),
                other => return self.wrong(key, &item.origin, "a list of texts", &other),
            }
        }
        Some(texts)
    }

    /// A list of exactly `N` whole numbers that fit 32 bits without a sign.
    pub(super) fn integers<const N: usize>(&mut self, key: &'static str) -> Option<[u32; N]> {
        let node = self.take(key)?;
        let Value::List(items) = &node.value else {
            return self.wrong(key, &node.origin, &format!("a list of {N} whole numbers"), &node.value);
        };
        let numbers: Option<Vec<u32>> = items
            .iter()
            .map(|item| if let Value::Integer(number) = item.value { u32::try_from(number).ok() } else { None })
            .collect();
        let found = numbers.and_then(|numbers| numbers.try_into().ok());
        if found.is_none() {
            self.problem(key, Some(&node.origin), format!("it takes a list of {N} whole numbers"));
        }
        found
    }

    /// A list of exactly `N` numbers within bounds.
    pub(super) fn numbers<const N: usize>(
        &mut self,
        key: &'static str,
        bounds: RangeInclusive<f64>,
    ) -> Option<[f64; N]> {
        let node = self.take(key)?;
        let Value::List(items) = &node.value else {
            return self.wrong(key, &node.origin, &format!("a list of {N} numbers"), &node.value);
        };
        let numbers: Option<Vec<f64>> =
            items.iter().map(|item| item.number().filter(|number| bounds.contains(number))).collect();
        let found = numbers.and_then(|numbers| numbers.try_into().ok());
        if found.is_none() {
            let (low, high) = bounds.into_inner();
            self.problem(key, Some(&node.origin), format!("it takes a list of {N} numbers between {low} and {high}"));
        }
        found
    }

    /// A list of points `[x, y]`, each number within bounds.
    pub(super) fn points(&mut self, key: &'static str, bounds: RangeInclusive<f64>) -> Option<Vec<[f64; 2]>> {
        const WANTED: &str = "a list of points [x, y]";
        let node = self.take(key)?;
        let Value::List(items) = &node.value else { return self.wrong(key, &node.origin, WANTED, &node.value) };
        let mut points = Vec::with_capacity(items.len());
        for item in items {
            let Value::List(numbers) = &item.value else { return self.wrong(key, &item.origin, WANTED, &item.value) };
            let numbers: Option<Vec<f64>> =
                numbers.iter().map(|number| number.number().filter(|number| bounds.contains(number))).collect();
            let Some(point) = numbers.and_then(|numbers| numbers.try_into().ok()) else {
                let (low, high) = bounds.into_inner();
                self.problem(key, Some(&item.origin), format!("a point is [x, y], each between {low} and {high}"));
                return None;
            };
            points.push(point);
        }
        Some(points)
    }

    /// A time in seconds within bounds.
    pub(super) fn seconds(&mut self, key: &'static str, bounds: RangeInclusive<f64>) -> Option<Duration> {
        self.number(key, bounds).map(Duration::from_secs_f64)
    }

    /// A table whose keys are the user's own: names and texts that mean something, by name.
    pub(super) fn parsed_by_name<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<(String, T)> {
        let mut values = Vec::new();
        for (name, node) in self.table(key, "a table { name = \"text\" }") {
            match &node.value {
                Value::Text(text) => match parse(text) {
                    Ok(value) => values.push((name, value)),
                    Err(error) => self.problem(key, Some(&node.origin), format!("{name}: {error}")),
                },
                other => {
                    let what = format!("{name} takes a text in quotes, not {}", other.kind());
                    self.problem(key, Some(&node.origin), what);
                }
            }
        }
        values
    }

    /// Tells where a key is missing, and what it is for. Gives whether it is there.
    pub(super) fn needs(&self, key: &str, what: &str) -> bool {
        let there = self.has(key);
        if !there {
            self.problem(key, None, format!("it is missing; {what}"));
        }
        there
    }

    /// Takes a key that has no business here, and says why.
    pub(super) fn misplaced(&mut self, key: &'static str, what: impl Display) {
        if let Some(node) = self.nodes.remove(key) {
            self.problem(key, Some(&node.origin), what);
        }
    }

    /// Leaves keys alone, about which enough is said.
    pub(super) fn skip(&mut self, keys: &[&str]) {
        for key in keys {
            self.nodes.remove(*key);
        }
    }

    /// Leaves all keys alone that were not asked for so far.
    pub(super) fn skip_all(&mut self) {
        self.nodes.clear();
    }

    /// How much is wrong so far, here and elsewhere.
    pub(super) fn problem_count(&self) -> usize {
        self.problems.0.borrow().len()
    }

    /// A table whose keys are the user's own: names and numbers within bounds.
    pub(super) fn numbers_by_name(&mut self, key: &'static str, bounds: RangeInclusive<f64>) -> BTreeMap<String, f64> {
        let mut numbers = BTreeMap::new();
        for (name, node) in self.table(key, "a table { name = number }") {
            let number = match node.value {
                Value::Integer(number) => number as f64,
                Value::Float(number) => number,
                other => {
                    self.problem(key, Some(&node.origin), format!("{name} takes a number, not {}", other.kind()));
                    continue;
                }
            };
            if bounds.contains(&number) {
                numbers.insert(name, number);
            } else {
                let (low, high) = (bounds.start(), bounds.end());
                let what = format!("{name} = {number} is out of bounds; it lies between {low} and {high}");
                self.problem(key, Some(&node.origin), what);
            }
        }
        numbers
    }

    /// A table whose keys are the user's own: names and whole numbers, of which `true` is 1 and `false` 0.
    pub(super) fn integers_by_name(&mut self, key: &'static str) -> BTreeMap<String, i64> {
        let mut numbers = BTreeMap::new();
        for (name, node) in self.table(key, "a table { name = whole number }") {
            match node.value {
                Value::Integer(number) => numbers.insert(name, number),
                Value::Boolean(value) => numbers.insert(name, i64::from(value)),
                other => {
                    self.problem(key, Some(&node.origin), format!("{name} takes a whole number, not {}", other.kind()));
                    None
                }
            };
        }
        numbers
    }

    /// Whether a key is there, without reading it.
    pub(super) fn has(&self, key: &str) -> bool {
        self.nodes.contains_key(key)
    }

    /// Where a key was written.
    pub(super) fn origin_of(&self, key: &str) -> Option<Origin> {
        self.nodes.get(key).map(|node| node.origin.clone())
    }

    /// Ends the reading: what is left was never asked for.
    pub(super) fn finish(mut self) {
        self.end();
    }

    /// The same, for a section that something else is still to be said about.
    pub(super) fn end(&mut self) {
        for (key, node) in &mem::take(&mut self.nodes) {
            let nearest = self
                .asked
                .iter()
                .map(|known| (strsim::damerau_levenshtein(key, known), *known))
                .min()
                .filter(|(distance, known)| *distance <= known.len().max(key.len()).div_ceil(2))
                .map(|(_, known)| known);
            let place = if self.title.is_empty() { "" } else { " in " };
            let remedy = match nearest {
                Some(known) => format!("did you mean \"{known}\"?"),
                None => format!("known here: {}", self.asked.join(", ")),
            };
            self.problems.add(format!("{}: unknown key \"{key}\"{place}{}; {remedy}", node.origin, self.title));
        }
    }

    /// The entries of a table whose keys are the user's own; none where it is missing or no table.
    fn table(&mut self, key: &'static str, wanted: &str) -> BTreeMap<String, Node> {
        let Some(node) = self.take(key) else { return BTreeMap::new() };
        match node.value {
            Value::Table(table) => table.into_iter().map(|(name, node)| (name, node.read())).collect(),
            other => self.wrong(key, &node.origin, wanted, &other).unwrap_or_default(),
        }
    }

    fn text_and_origin(&mut self, key: &'static str) -> Option<(Origin, String)> {
        let node = self.take_unread(key)?;
        match node.value {
            Value::Text(text) | Value::Raw(text) => Some((node.origin, text)),
            other => self.wrong(key, &node.origin, "a text in quotes", &other),
        }
    }

    fn take(&mut self, key: &'static str) -> Option<Node> {
        self.take_unread(key).map(Node::read)
    }

    /// As it was written: the text of an environment variable is still one.
    fn take_unread(&mut self, key: &'static str) -> Option<Node> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        let node = self.nodes.remove(key)?;
        self.taken.insert(key.to_owned(), node.origin.clone());
        Some(node)
    }

    fn wrong<T>(&self, key: &str, origin: &Origin, wanted: &str, found: &Value) -> Option<T> {
        self.problem(key, Some(origin), format!("it takes {wanted}, not {}", found.kind()));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{super::document, *};

    fn read(text: &str, work: impl FnOnce(&mut Section)) -> Vec<String> {
        let problems = Problems::default();
        let mut section = Section::new("[mqtt]", document::parse(text).unwrap(), &problems);
        work(&mut section);
        section.finish();
        problems.into_vec()
    }

    #[test]
    fn an_unknown_key_names_the_nearest() {
        let problems = read("hots = \"a\"\n\nxyzzy = 1", |section| {
            section.text("host");
            section.integer("port", 1..=65535);
        });
        assert_eq!(
            problems,
            [
                "line 1: unknown key \"hots\" in [mqtt]; did you mean \"host\"?",
                "line 3: unknown key \"xyzzy\" in [mqtt]; known here: host, port",
            ]
        );
    }

    #[test]
    fn wrong_types_and_bounds_are_named() {
        let problems = read("host = 3\nport = 70000\nloop = \"yes\"\nroi = [1, 2]\n", |section| {
            assert_eq!(section.text("host"), None);
            assert_eq!(section.integer("port", 1..=65535), None);
            assert_eq!(section.boolean("loop"), None);
            assert_eq!(section.integers::<4>("roi"), None);
        });
        assert_eq!(
            problems,
            [
                "line 1: [mqtt] host: it takes a text in quotes, not a whole number",
                "line 2: [mqtt] port: 70000 is out of bounds; it lies between 1 and 65535",
                "line 3: [mqtt] loop: it takes true or false, not a text",
                "line 4: [mqtt] roi: it takes a list of 4 whole numbers",
            ]
        );
    }

    #[test]
    fn nothing_wrong_is_no_problem() {
        let problems = read(
            "rate = 5\nwhich = \"b\"\nnames = [\"x\"]\nlimits = { a = 1, b = 0.5 }\ncontrols = { a = -3, b = true }",
            |section| {
                assert_eq!(section.number("rate", 0.0..=10.0), Some(5.0));
                assert_eq!(section.word("which", &[("a", 1), ("b", 2)]), Some(2));
                assert_eq!(section.texts("names"), Some(vec!["x".to_owned()]));
                assert_eq!(section.numbers_by_name("limits", 0.0..=1.0)["b"], 0.5);
                let controls = section.integers_by_name("controls");
                assert_eq!((controls["a"], controls["b"]), (-3, 1));
            },
        );
        assert!(problems.is_empty(), "{problems:?}");
    }

    #[test]
    fn a_number_by_name_is_never_changed_to_fit() {
        let text = "[limits]\na = 1.5\nb = true\n[controls]\ngain = 1.9\nhue = 3.0e40\n";
        let problems = read(text, |section| {
            assert!(section.numbers_by_name("limits", 0.0..=1.0).is_empty());
            assert!(section.integers_by_name("controls").is_empty());
        });
        assert_eq!(
            problems,
            [
                "line 2: [mqtt] limits: a = 1.5 is out of bounds; it lies between 0 and 1",
                "line 3: [mqtt] limits: b takes a number, not true or false",
                "line 5: [mqtt] controls: gain takes a whole number, not a fraction",
                "line 6: [mqtt] controls: hue takes a whole number, not a fraction",
            ]
        );
    }
}
