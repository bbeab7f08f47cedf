//! What was said, read from the file while the daemon writes it, or when it is not there.

use std::path::Path;

use rusqlite::{Connection, params};

use super::{
    Class, Failure, PerClass, Row,
    read::{Names, message},
    schema,
};

/// So many messages are read in one go, so that the daemon is never kept from tidying its file.
const ROWS: u32 = 500;

/// A file that is read from front to back.
pub struct History {
    db: Connection,
    after: PerClass<u64>,
}

impl History {
    /// Opens the file of an outbox.
    ///
    /// # Errors
    /// Where there is none, or it cannot be read.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        Ok(Self { db: schema::open_to_read(path)?, after: [0; Class::ALL.len()] })
    }

    /// The next messages, of all classes by the time they were made; none where all were read. What is damaged is left out.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn read_on(&mut self) -> Result<Vec<Row>, Failure> {
        let names = Names::new(&schema::read_topics(&self.db)?);
        let mut rows: Vec<Row> = Vec::new();
        // A class that was not read to its end says nothing about what comes after; the others wait for it.
        let mut complete_to = i64::MAX;
        for class in Class::ALL {
            let found = self.read(class, &names)?;
            if found.len() == ROWS as usize
                && let Some(last) = found.last()
            {
                complete_to = complete_to.min(last.entry.made_at.as_microsecond());
            }
            rows.extend(found);
        }
        rows.retain(|row| row.entry.made_at.as_microsecond() <= complete_to);
        for row in &rows {
            let after = &mut self.after[row.entry.class as usize];
            *after = (*after).max(row.id);
        }
        rows.sort_by_key(|row| row.entry.made_at);
        Ok(rows)
    }

    fn read(&self, class: Class, names: &Names) -> Result<Vec<Row>, Failure> {
        let text = format!(
            "SELECT id, topic, leaf, epoch, seq, flags, made_at, sums, body FROM {} WHERE id > ? ORDER BY id LIMIT {ROWS}",
            schema::table(class)
        );
        let mut statement = self.db.prepare_cached(&text)?;
        let mut rows = statement.query(params![self.after[class as usize]])?;
        let mut found = Vec::new();
        while let Some(columns) = rows.next()? {
            found.extend(message(class, columns, names));
        }
        Ok(found)
    }
}
