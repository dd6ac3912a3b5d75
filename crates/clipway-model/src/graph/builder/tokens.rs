//! Operations on the tokens of a sequence: table lookups, adding and dropping tokens.

use super::super::operation::Operation;
use super::super::parameters::ParameterId;
use super::super::settings::{GridChange, TextPositions};
use super::super::{Dim, ValueId};
use super::{Built, GraphBuilder, GraphError};

impl GraphBuilder<'_> {
    /// Adds a positional embedding `[tokens, width]` or `[1, tokens, width]` to each sample.
    pub fn add_positions(&mut self, x: ValueId, table: ParameterId) -> Built {
        let operation = Operation::AddPositions { table, change: None };
        let expected = self.parameters.get(table).matrix_shape();
        let fits = match (self.shape(x), expected.as_slice()) {
            (&[_, Dim::Fixed(tokens), Dim::Fixed(width)], &[rows, columns]) => {
                tokens == rows && width == columns
            }
            (&[_, Dim::Length(_), Dim::Fixed(width)], &[_, columns]) => width == columns,
            _ => false,
        };
        if !fits {
            return Err(self.wrong(&operation, expected, self.shape(x)));
        }
        Ok(self.push_like(operation, vec![x], x))
    }

    /// Adds a positional embedding made for another grid, `[prefix + rows · columns, width]` with or without a leading
    /// 1, after resampling it.
    pub fn add_resampled_positions(&mut self, x: ValueId, table: ParameterId, change: GridChange) -> Built {
        if change.from == change.to {
            return self.add_positions(x, table);
        }
        let operation = Operation::AddPositions { table, change: Some(change) };
        let stored = self.parameters.get(table).matrix_shape();
        let fits = match (self.shape(x), stored.as_slice(), change.rows()) {
            (&[_, Dim::Fixed(tokens), Dim::Fixed(width)], &[rows, columns], Some(changed)) => {
                [rows, tokens] == changed && width == columns
            }
            _ => false,
        };
        if !fits {
            return Err(self.wrong(&operation, stored, self.shape(x)));
        }
        Ok(self.push_like(operation, vec![x], x))
    }

    /// Adds one row of a table to each token.
    pub fn add_row(&mut self, x: ValueId, table: ParameterId, row: usize) -> Built {
        let operation = Operation::AddRow { table, row };
        match *self.parameters.get(table).shape.as_slice() {
            [rows, width] if row < rows => self.expect_width(&operation, x, width)?,
            ref other => return Err(self.wrong(&operation, format!("more rows than {row}"), other)),
        }
        Ok(self.push_like(operation, vec![x], x))
    }

    /// Adds the positions of a text's tokens, one per id.
    pub fn add_text_positions(
        &mut self,
        x: ValueId,
        ids: ValueId,
        positions: TextPositions,
        padding: i64,
    ) -> Built {
        let operation = Operation::AddTextPositions { positions, padding };
        match (self.shape(x), self.shape(ids)) {
            ([_, Dim::Length(0), Dim::Fixed(_)], [_, Dim::Length(0)]) => {}
            (found, _) => return Err(self.wrong(&operation, "a token for each id", found)),
        }
        if let TextPositions::Table(table) = positions {
            match *self.parameters.get(table).shape.as_slice() {
                [_, width] => self.expect_width(&operation, x, width)?,
                ref other => return Err(self.wrong(&operation, "a table", other)),
            }
        }
        Ok(self.push_like(operation, vec![x, ids], x))
    }

    /// Looks up token ids in a table.
    pub fn embedding(&mut self, ids: ValueId, table: ParameterId) -> Built {
        let operation = Operation::Embedding { table };
        let rows = &self.parameters.get(table).shape;
        let &[_, width] = rows.as_slice() else {
            return Err(self.wrong(&operation, "a table", rows));
        };
        let mut shape = self.shape(ids).to_vec();
        shape.push(Dim::Fixed(width));
        Ok(self.push(operation, vec![ids], shape))
    }

    /// Prepends one or more learned tokens.
    pub fn prepend_token(&mut self, x: ValueId, token: ParameterId) -> Built {
        let operation = Operation::PrependToken { token };
        let elements = self.parameters.get(token).elements();
        let width = self.width(x).filter(|width| elements > 0 && elements.is_multiple_of(*width));
        let Some(width) = width else {
            return Err(self.wrong(&operation, format!("a width that divides {elements}"), self.width(x)));
        };
        let shape = self.more(&operation, x, elements / width)?;
        Ok(self.push(operation, vec![x], shape))
    }

    /// Drops the first `n` tokens; for 0, returns the sequence itself.
    pub fn drop_tokens(&mut self, x: ValueId, count: usize) -> Built {
        let operation = Operation::DropTokens { count };
        match *self.shape(x) {
            _ if count == 0 => Ok(x),
            [batch, Dim::Fixed(tokens), width] if tokens > count => {
                Ok(self.push(operation, vec![x], vec![batch, Dim::Fixed(tokens - count), width]))
            }
            [batch, Dim::Length(extra), width] if extra >= count => {
                Ok(self.push(operation, vec![x], vec![batch, Dim::Length(extra - count), width]))
            }
            ref other => Err(self.wrong(&operation, format!("more than {count} tokens"), other)),
        }
    }

    /// Prepends the mean of the tokens.
    pub fn prepend_mean(&mut self, x: ValueId) -> Built {
        let shape = self.more(&Operation::PrependMean, x, 1)?;
        Ok(self.push(Operation::PrependMean, vec![x], shape))
    }

    /// Appends a learned token.
    pub fn append_token(&mut self, x: ValueId, token: ParameterId) -> Built {
        let operation = Operation::AppendToken { token };
        self.expect_width(&operation, x, self.parameters.get(token).elements())?;
        let shape = self.more(&operation, x, 1)?;
        Ok(self.push(operation, vec![x], shape))
    }

    /// Gives learned tokens to each sample in the batch of `like`.
    pub fn queries(&mut self, like: ValueId, tokens: ParameterId) -> Built {
        let operation = Operation::Queries { tokens };
        let [count, width] = self.parameters.get(tokens).matrix_shape()[..] else {
            return Err(self.wrong(&operation, "a matrix", &self.parameters.get(tokens).shape));
        };
        Ok(self.push(operation, vec![like], vec![Dim::Batch, Dim::Fixed(count), Dim::Fixed(width)]))
    }

    /// Shape of a sequence with this many more tokens.
    fn more(&self, operation: &Operation, x: ValueId, count: usize) -> Result<Vec<Dim>, GraphError> {
        match *self.shape(x) {
            [batch, Dim::Fixed(tokens), width] => Ok(vec![batch, Dim::Fixed(tokens + count), width]),
            [batch, Dim::Length(extra), width] => Ok(vec![batch, Dim::Length(extra + count), width]),
            ref other => Err(self.wrong(operation, "a sequence", other)),
        }
    }
}
