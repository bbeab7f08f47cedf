//! Python literals, as exporters write them into ONNX metadata.
//!
//! `{0: 'person', 1: "driver's seat"}`, `[640, 640]`, `None`: what `repr()` writes, and JSON besides. What the values
//! mean is up to [`super::metadata`].

/// Nesting beyond this is refused, so that a hostile file cannot exhaust the stack.
const DEPTH_MAX: usize = 32;

/// A value that Python's `repr()` wrote.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Literal {
    /// `None`, `null`.
    None,
    /// `True`, `False`, `true`, `false`.
    Bool(bool),
    /// An integer or a float.
    Number(f64),
    /// A string, or a name that stands for itself (`PosixPath` in `PosixPath('a')`).
    Text(String),
    /// A list, a tuple, a set or the arguments of a call.
    List(Vec<Literal>),
    /// A dictionary, in the order of the file.
    Map(Vec<(Literal, Literal)>),
}

impl Literal {
    /// Reads one literal; `None` where the text is anything else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut reader = Reader { rest: text };
        let value = reader.value(0)?;
        reader.skip_space();
        reader.rest.is_empty().then_some(value)
    }

    /// The value as a whole number that is not negative.
    pub(super) fn as_index(&self) -> Option<usize> {
        match self {
            Self::Number(number) if *number >= 0.0 && *number <= 1e9 && number.fract() == 0.0 => Some(*number as usize),
            Self::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// The value under a key of a dictionary.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let Self::Map(entries) = self else { return None };
        entries.iter().find(|(name, _)| matches!(name, Self::Text(text) if text == key)).map(|(_, value)| value)
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Option<Literal> {
        if depth > DEPTH_MAX {
            return None;
        }
        self.skip_space();
        match self.peek()? {
            '{' => self.braces(depth),
            '[' => self.sequence(']', depth),
            '(' => self.sequence(')', depth),
            '\'' | '"' => self.text(),
            c if c.is_ascii_digit() || matches!(c, '-' | '+' | '.') => self.number(),
            c if c.is_alphabetic() || c == '_' => self.name(depth),
            _ => None,
        }
    }

    fn braces(&mut self, depth: usize) -> Option<Literal> {
        self.take('{').then_some(())?;
        let mut entries = Vec::new();
        let mut items = Vec::new();
        loop {
            self.skip_space();
            if self.take('}') {
                break;
            }
            let key = self.value(depth + 1)?;
            self.skip_space();
            if self.take(':') {
                entries.push((key, self.value(depth + 1)?));
            } else {
                items.push(key);
            }
            self.separator('}')?;
        }
        match (entries.is_empty(), items.is_empty()) {
            (_, true) => Some(Literal::Map(entries)),
            (true, false) => Some(Literal::List(items)),
            (false, false) => None,
        }
    }

    fn sequence(&mut self, close: char, depth: usize) -> Option<Literal> {
        self.rest = &self.rest[1..];
        let mut items = Vec::new();
        loop {
            self.skip_space();
            if self.take(close) {
                return Some(Literal::List(items));
            }
            items.push(self.value(depth + 1)?);
            self.separator(close)?;
        }
    }

    /// A comma, or nothing where the bracket closes next.
    fn separator(&mut self, close: char) -> Option<()> {
        self.skip_space();
        (self.take(',') || self.peek() == Some(close)).then_some(())
    }

    fn number(&mut self) -> Option<Literal> {
        let end = self
            .rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-' | '_')))
            .unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        digits.replace('_', "").parse().ok().map(Literal::Number)
    }

    fn name(&mut self, depth: usize) -> Option<Literal> {
        let end = self.rest.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.'))).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        match name {
            "None" | "null" => Some(Literal::None),
            "True" | "true" => Some(Literal::Bool(true)),
            "False" | "false" => Some(Literal::Bool(false)),
            "u" if matches!(self.peek(), Some('\'' | '"')) => self.text(),
            _ if self.peek() == Some('(') => self.sequence(')', depth),
            _ => Some(Literal::Text(name.to_owned())),
        }
    }

    fn text(&mut self) -> Option<Literal> {
        let mut chars = self.rest.char_indices();
        let (_, quote) = chars.next()?;
        let mut text = String::new();
        while let Some((at, c)) = chars.next() {
            if c == quote {
                self.rest = &self.rest[at + quote.len_utf8()..];
                return Some(Literal::Text(text));
            }
            if c != '\\' {
                text.push(c);
                continue;
            }
            let (_, escape) = chars.next()?;
            let mut hex = |digits: usize| {
                let mut code = 0;
                for _ in 0..digits {
                    code = code * 16 + chars.next()?.1.to_digit(16)?;
                }
                Some(code)
            };
            match escape {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                'r' => text.push('\r'),
                'a' => text.push('\u{7}'),
                'b' => text.push('\u{8}'),
                'f' => text.push('\u{c}'),
                'v' => text.push('\u{b}'),
                '0' => text.push('\0'),
                'x' => text.push(char::from_u32(hex(2)?)?),
                'u' => {
                    let mut code = hex(4)?;
                    // JSON writes characters beyond 16 bits as two escapes, a surrogate pair.
                    if (0xd800..0xdc00).contains(&code) {
                        let ('\\', 'u') = (chars.next()?.1, chars.next()?.1) else { return None };
                        let mut low = 0;
                        for _ in 0..4 {
                            low = low * 16 + chars.next()?.1.to_digit(16)?;
                        }
                        code = 0x10000 + ((code - 0xd800) << 10) + low.checked_sub(0xdc00)?;
                    }
                    text.push(char::from_u32(code)?);
                }
                'U' => text.push(char::from_u32(hex(8)?)?),
                '\n' => {}
                '\\' | '\'' | '"' | '/' => text.push(escape),
                // Python keeps the backslash of an escape that it does not know.
                other => text.extend(['\\', other]),
            }
        }
        None
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.rest.strip_prefix(wanted);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Literal {
        Literal::Text(text.to_owned())
    }

    #[test]
    fn dictionaries_of_names() {
        let read = Literal::parse(r#"{0: 'person', 1: "it's", 2: 'a "b" \'c\'', 3: 'Schraube \u00fc \x41 ü\\',}"#);
        let expected = [(0, "person"), (1, "it's"), (2, r#"a "b" 'c'"#), (3, "Schraube ü A ü\\")];
        let expected = expected.iter().map(|&(n, name)| (Literal::Number(f64::from(n)), text(name))).collect();
        assert_eq!(read, Some(Literal::Map(expected)));
    }

    #[test]
    fn everything_else_that_exporters_write() {
        assert_eq!(Literal::parse(" [640, 640] "), Literal::parse("(640, 640,)"));
        let args = Literal::parse(
            "{'data': PosixPath('/a/b.yaml'), 'batch': 1, 'fraction': 1.0, 'half': False, 'opset': None, 'nms': True, \
             'x': -1e-3}",
        )
        .unwrap();
        assert_eq!(args.get("nms"), Some(&Literal::Bool(true)));
        assert_eq!(args.get("opset"), Some(&Literal::None));
        assert_eq!(args.get("data"), Some(&Literal::List(vec![text("/a/b.yaml")])));
        assert_eq!(args.get("x"), Some(&Literal::Number(-1e-3)));
        assert_eq!(args.get("y"), None);
        assert_eq!(Literal::parse(r#"{"0": "😀"}"#).unwrap().get("0"), Some(&text("😀")));
        assert_eq!(Literal::parse(r#""\ud83d\ude00""#), Some(text("😀")));
        assert_eq!(Literal::parse("detect"), Some(text("detect")));
        assert_eq!(Literal::parse("{}"), Some(Literal::Map(vec![])));
        assert_eq!(Literal::parse("32").and_then(|n| n.as_index()), Some(32));
    }

    #[test]
    fn anything_else_is_refused() {
        for broken in
            ["", "{", "{0:", "{0: 'a'", "{0: 'a' 1: 'b'}", "'a", "[1 2]", "{1: 2, 3}", "@", "1 2", r"'\x4'", "1.2.3"]
        {
            assert_eq!(Literal::parse(broken), None, "{broken}");
        }
        assert_eq!(Literal::parse(&"[".repeat(100_000)), None);
    }

    #[test]
    fn no_text_makes_it_panic() {
        let seed = r#"{0: 'person', 1: "it's \u00fc", 'k': [1, (2.5, None)], 'p': P('x')}"#;
        let chars: Vec<char> = seed.chars().collect();
        for cut in 0..chars.len() {
            for extra in ["", "\\", "'", "ü", "{", "\u{10ffff}"] {
                let text: String = chars[..cut].iter().collect::<String>() + extra;
                let _ = Literal::parse(&text);
                let text: String = extra.to_owned() + &chars[cut..].iter().collect::<String>();
                let _ = Literal::parse(&text);
            }
        }
    }
}
