//! The items of an index, in a redb database.
//!
//! redb checks itself against crashes, not against files that something else has changed: those may make it panic. So
//! every call goes through [`contained`], and every value read is checked.

use std::io::ErrorKind;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use redb::{
    Builder, ConcurrencyMode, Database, DatabaseError, ReadOnlyDatabase, ReadTransaction, ReadableDatabase,
    ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction,
};

use crate::error::IndexError;
use crate::item::{Item, path_of};

/// The database's name.
pub(crate) const FILE: &str = "items.redb";

/// Memory for pages of the database.
const CACHE_BYTES: usize = 64 << 20;

/// Path to item.
const ITEMS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("items");
/// Row and a path that has it.
const ROW_PATHS: TableDefinition<(u64, &[u8]), ()> = TableDefinition::new("row_paths");
/// SHA-256 of a file's bytes to row.
const HASH_ROWS: TableDefinition<&[u8; 32], u64> = TableDefinition::new("hash_rows");
/// Rows that no path has any more.
const DEAD: TableDefinition<u64, ()> = TableDefinition::new("dead");
/// First row of a commit to its end, and the CRC-32 of its bytes in each file of rows.
const SPANS: TableDefinition<u64, (u64, u32, u32, u32)> = TableDefinition::new("spans");
/// Numbers by name.
const NUMBERS: TableDefinition<&str, u64> = TableDefinition::new("numbers");

const ROWS: &str = "rows";
const WIDTH: &str = "width";

/// Rows that one commit appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) first: u64,
    pub(crate) end: u64,
    /// CRC-32 of the bytes in the files of codes, scales and halves.
    pub(crate) sums: [u32; 3],
}

/// How many of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) rows: u64,
    pub(crate) dead: u64,
    pub(crate) items: u64,
}

/// A value whose drop may panic, without letting it.
pub(crate) struct Quiet<T>(Option<T>);

impl<T> Quiet<T> {
    fn new(value: T) -> Quiet<T> {
        Quiet(Some(value))
    }

    fn get(&self) -> &T {
        self.0.as_ref().expect("only `Drop` and `take` empty it")
    }

    fn take(mut self) -> T {
        self.0.take().expect("only `Drop` and `take` empty it")
    }
}

impl<T> Drop for Quiet<T> {
    fn drop(&mut self) {
        let value = self.0.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(value)));
    }
}

/// Runs calls of redb; an error or a panic means that the file is damaged, unless the system failed.
fn contained<T>(path: &Path, call: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, IndexError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(failed(path, error)),
        Err(_) => Err(IndexError::damaged(path, "its pages contradict each other")),
    }
}

/// What an error of redb means.
fn failed(path: &Path, error: redb::Error) -> IndexError {
    match error {
        redb::Error::Io(cause) if cause.kind() == ErrorKind::InvalidData => {
            IndexError::damaged(path, "not a database of redb")
        }
        redb::Error::Io(cause) if cause.kind() == ErrorKind::UnexpectedEof => {
            IndexError::damaged(path, "it ends early")
        }
        redb::Error::Io(cause)
            if matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) =>
        {
            IndexError::io("read", path)(cause)
        }
        redb::Error::Io(cause) => IndexError::io("write", path)(cause),
        redb::Error::DatabaseAlreadyOpen => {
            let path = path.parent().unwrap_or(path).to_owned();
            IndexError::Locked { path, pid: None }
        }
        other => IndexError::damaged(path, other.to_string()),
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES).set_concurrency_mode(ConcurrencyMode::SingleWriter);
    builder
}

/// Creates the empty database of a new index.
pub(crate) fn create(path: &Path, width: usize) -> Result<(), IndexError> {
    contained(path, || {
        let database = builder().create(path)?;
        let transaction = database.begin_write()?;
        transaction.open_table(ITEMS)?;
        transaction.open_table(ROW_PATHS)?;
        transaction.open_table(HASH_ROWS)?;
        transaction.open_table(DEAD)?;
        transaction.open_table(SPANS)?;
        {
            let mut numbers = transaction.open_table(NUMBERS)?;
            numbers.insert(ROWS, 0)?;
            numbers.insert(WIDTH, width as u64)?;
        }
        transaction.commit()?;
        database.close()?;
        Ok(())
    })
}

/// Checks every page of the database against its checksum. Nobody may be writing.
pub(crate) fn check_pages(path: &Path) -> Result<(), IndexError> {
    contained(path, || {
        let database = builder().set_check_integrity_on_open(true).open(path)?;
        database.close()?;
        Ok(())
    })
}

/// A consistent view of the items as of the last commit.
pub(crate) struct Snapshot {
    path: PathBuf,
    // Before the database, which it reads from.
    transaction: Quiet<ReadTransaction>,
    _database: Quiet<ReadOnlyDatabase>,
}

impl Snapshot {
    /// Opens a database to read it. One that a writer left behind when it died is put in order first.
    pub(crate) fn open(path: &Path, width: usize) -> Result<Snapshot, IndexError> {
        let opened = contained(path, || match builder().open_read_only(path) {
            Err(DatabaseError::RepairAborted) => Ok(None),
            opened => Ok(Some(opened?)),
        })?;
        let database = match opened {
            Some(database) => database,
            None => contained(path, || {
                builder().open(path)?.close()?;
                Ok(builder().open_read_only(path)?)
            })?,
        };
        let transaction = contained(path, || Ok(database.begin_read()?))?;
        let (transaction, database) = (Quiet::new(transaction), Quiet::new(database));
        let snapshot = Snapshot { path: path.to_owned(), transaction, _database: database };
        let found = snapshot.read(|transaction| number(&transaction.open_table(NUMBERS)?, WIDTH))?;
        check_same_width(path, found, width)?;
        Ok(snapshot)
    }

    fn read<T>(
        &self,
        call: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, IndexError> {
        contained(&self.path, || call(self.transaction.get()))
    }

    pub(crate) fn counts(&self) -> Result<Counts, IndexError> {
        self.read(|transaction| {
            Ok(Counts {
                rows: number(&transaction.open_table(NUMBERS)?, ROWS)?.unwrap_or(0),
                dead: transaction.open_table(DEAD)?.len()?,
                items: transaction.open_table(ITEMS)?.len()?,
            })
        })
    }

    pub(crate) fn item(&self, path: &[u8]) -> Result<Option<Item>, IndexError> {
        let found = self.read(|transaction| stored(&transaction.open_table(ITEMS)?, path))?;
        found.map(|found| decoded(&self.path, found)).transpose()
    }

    pub(crate) fn visit(
        &self,
        visitor: &mut dyn FnMut(PathBuf, Item) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        let mut after = None;
        while let Some(page) =
            self.read(|transaction| page(&transaction.open_table(ITEMS)?, after.as_deref()))?
        {
            after = visit_page(&self.path, page, visitor)?;
        }
        Ok(())
    }

    pub(crate) fn paths_of_row(&self, row: u64) -> Result<Vec<Vec<u8>>, IndexError> {
        self.read(|transaction| paths_of(&transaction.open_table(ROW_PATHS)?, row))
    }

    pub(crate) fn dead(&self) -> Result<Vec<u64>, IndexError> {
        self.read(|transaction| {
            let dead = transaction.open_table(DEAD)?;
            dead.iter()?.map(|entry| Ok(entry?.0.value())).collect()
        })
    }

    pub(crate) fn spans(&self) -> Result<Vec<Span>, IndexError> {
        self.read(|transaction| {
            let spans = transaction.open_table(SPANS)?;
            let mut found = Vec::new();
            for entry in spans.iter()? {
                let (first, rest) = entry?;
                let (end, codes, scales, halves) = rest.value();
                found.push(Span { first: first.value(), end, sums: [codes, scales, halves] });
            }
            Ok(found)
        })
    }

    /// Whether a row is known to belong to a path.
    pub(crate) fn is_linked(&self, row: u64, path: &[u8]) -> Result<bool, IndexError> {
        self.read(|transaction| Ok(transaction.open_table(ROW_PATHS)?.get((row, path))?.is_some()))
    }

    /// Number of pairs of row and path.
    pub(crate) fn links(&self) -> Result<u64, IndexError> {
        self.read(|transaction| Ok(transaction.open_table(ROW_PATHS)?.len()?))
    }

    /// Every pair of hash and row.
    pub(crate) fn hashes(&self) -> Result<Vec<([u8; 32], u64)>, IndexError> {
        self.read(|transaction| {
            let hashes = transaction.open_table(HASH_ROWS)?;
            hashes
                .iter()?
                .map(|entry| entry.map(|(hash, row)| (*hash.value(), row.value())).map_err(Into::into))
                .collect()
        })
    }
}

/// The database of the one writer, and its open transaction.
pub(crate) struct Items {
    path: PathBuf,
    transaction: Option<Quiet<WriteTransaction>>,
    database: Quiet<Database>,
}

impl Items {
    /// Opens a database to write to it.
    pub(crate) fn open(path: &Path, width: usize) -> Result<Items, IndexError> {
        let database = Quiet::new(contained(path, || Ok(builder().open(path)?))?);
        let mut items = Items { path: path.to_owned(), transaction: None, database };
        let found = items.write(|transaction| number(&transaction.open_table(NUMBERS)?, WIDTH))?;
        check_same_width(path, found, width)?;
        Ok(items)
    }

    /// Runs calls in the open transaction, or a new one.
    fn write<T>(
        &mut self,
        call: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, IndexError> {
        if self.transaction.is_none() {
            let database = self.database.get();
            let transaction = contained(&self.path, || {
                let mut transaction = database.begin_write()?;
                transaction.set_quick_repair(true);
                Ok(transaction)
            })?;
            self.transaction = Some(Quiet::new(transaction));
        }
        let Some(transaction) = &self.transaction else { unreachable!("it was just begun") };
        contained(&self.path, || call(transaction.get()))
    }

    pub(crate) fn rows(&mut self) -> Result<u64, IndexError> {
        Ok(self.write(|transaction| number(&transaction.open_table(NUMBERS)?, ROWS))?.unwrap_or(0))
    }

    pub(crate) fn item(&mut self, path: &[u8]) -> Result<Option<Item>, IndexError> {
        let found = self.write(|transaction| stored(&transaction.open_table(ITEMS)?, path))?;
        found.map(|found| decoded(&self.path, found)).transpose()
    }

    pub(crate) fn row_of_hash(&mut self, hash: &[u8; 32]) -> Result<Option<u64>, IndexError> {
        self.write(|transaction| {
            let hashes = transaction.open_table(HASH_ROWS)?;
            let row = hashes.get(hash)?.map(|row| row.value());
            Ok(row)
        })
    }

    pub(crate) fn visit(
        &mut self,
        visitor: &mut dyn FnMut(PathBuf, Item) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        let mut after: Option<Vec<u8>> = None;
        while let Some(page) =
            self.write(|transaction| page(&transaction.open_table(ITEMS)?, after.as_deref()))?
        {
            after = visit_page(&self.path, page, visitor)?;
        }
        Ok(())
    }

    /// Stores an item and where its row was used before.
    pub(crate) fn put(&mut self, path: &[u8], item: &Item, before: Option<&Item>) -> Result<(), IndexError> {
        let bytes = item.encode();
        self.write(|transaction| {
            if let Some(row) = before.and_then(|before| before.row).filter(|row| item.row != Some(*row)) {
                unlink(transaction, row, path)?;
            }
            if let Some(row) = item.row {
                transaction.open_table(ROW_PATHS)?.insert((row, path), ())?;
                transaction.open_table(DEAD)?.remove(row)?;
                transaction.open_table(HASH_ROWS)?.insert(&item.hash, row)?;
            }
            transaction.open_table(ITEMS)?.insert(path, bytes.as_slice())?;
            Ok(())
        })
    }

    /// Removes an item.
    pub(crate) fn remove(&mut self, path: &[u8], before: &Item) -> Result<(), IndexError> {
        self.write(|transaction| {
            if let Some(row) = before.row {
                unlink(transaction, row, path)?;
            }
            transaction.open_table(ITEMS)?.remove(path)?;
            Ok(())
        })
    }

    /// Commits the open transaction together with the rows that it speaks of.
    pub(crate) fn commit(&mut self, span: Option<Span>) -> Result<(), IndexError> {
        if let Some(Span { first, end, sums: [codes, scales, halves] }) = span {
            self.write(|transaction| {
                transaction.open_table(SPANS)?.insert(first, (end, codes, scales, halves))?;
                transaction.open_table(NUMBERS)?.insert(ROWS, end)?;
                Ok(())
            })?;
        }
        match self.transaction.take() {
            Some(transaction) => contained(&self.path, || Ok(transaction.take().commit()?)),
            None => Ok(()),
        }
    }
}

/// Takes a row from a path; a row without paths is dead.
fn unlink(transaction: &WriteTransaction, row: u64, path: &[u8]) -> Result<(), redb::Error> {
    let mut paths = transaction.open_table(ROW_PATHS)?;
    paths.remove((row, path))?;
    let next = paths.range((row, [].as_slice())..)?.next().transpose()?;
    if next.is_none_or(|(key, _)| key.value().0 != row) {
        transaction.open_table(DEAD)?.insert(row, ())?;
    }
    Ok(())
}

fn paths_of(
    paths: &impl ReadableTable<(u64, &'static [u8]), ()>,
    row: u64,
) -> Result<Vec<Vec<u8>>, redb::Error> {
    let all = paths.range((row, [].as_slice())..)?;
    let mut found = Vec::new();
    for entry in all {
        let (key, _) = entry?;
        let (of, path) = key.value();
        if of != row {
            break;
        }
        found.push(path.to_vec());
    }
    Ok(found)
}

fn number(numbers: &impl ReadableTable<&'static str, u64>, name: &str) -> Result<Option<u64>, redb::Error> {
    Ok(numbers.get(name)?.map(|number| number.value()))
}

fn stored(
    items: &impl ReadableTable<&'static [u8], &'static [u8]>,
    path: &[u8],
) -> Result<Option<Vec<u8>>, redb::Error> {
    Ok(items.get(path)?.map(|bytes| bytes.value().to_vec()))
}

/// Stored items, with their paths.
type Page = Vec<(Vec<u8>, Vec<u8>)>;

/// Items read at once.
const PAGE_ITEMS: usize = 4096;

/// The items after a path; `None` if there are none.
fn page(
    items: &impl ReadableTable<&'static [u8], &'static [u8]>,
    after: Option<&[u8]>,
) -> Result<Option<Page>, redb::Error> {
    let start = after.map_or(Bound::Unbounded, Bound::Excluded);
    let range = items.range::<&[u8]>((start, Bound::Unbounded))?;
    let page: Page = range
        .take(PAGE_ITEMS)
        .map(|entry| entry.map(|(path, item)| (path.value().to_vec(), item.value().to_vec())))
        .collect::<Result<_, _>>()?;
    Ok(Some(page).filter(|page| !page.is_empty()))
}

/// Shows a page's items to the visitor, and returns the last path.
fn visit_page(
    database: &Path,
    page: Page,
    visitor: &mut dyn FnMut(PathBuf, Item) -> Result<(), IndexError>,
) -> Result<Option<Vec<u8>>, IndexError> {
    let last = page.last().map(|(path, _)| path.clone());
    for (path, item) in page {
        let item = decoded(database, item)?;
        let path =
            path_of(&path).ok_or_else(|| IndexError::damaged(database, "a path is not valid Unicode"))?;
        visitor(path, item)?;
    }
    Ok(last)
}

fn decoded(database: &Path, bytes: Vec<u8>) -> Result<Item, IndexError> {
    Item::decode(&bytes).ok_or_else(|| IndexError::damaged(database, "an item has another form"))
}

fn check_same_width(path: &Path, found: Option<u64>, expected: usize) -> Result<(), IndexError> {
    match found {
        Some(found) if found == expected as u64 => Ok(()),
        Some(found) => {
            let reason = format!("it belongs to features of {found} values, and `index.json` to {expected}");
            Err(IndexError::damaged(path, reason))
        }
        None => Err(IndexError::damaged(path, "it does not say the width of the features")),
    }
}
