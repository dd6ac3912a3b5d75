//! The post-processor of a `tokenizer.json`, reduced to the ids before and after a single text.

use super::json::Node;
use super::vocabulary::{Vocabulary, id_of};
use crate::text::TokenizerError;

/// Maximum number of special ids around a text.
const MOST_SPECIAL: usize = 16;

/// The special ids around a text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Template {
    /// Those before it.
    pub prefix: Vec<u32>,
    /// Those after it.
    pub suffix: Vec<u32>,
}

impl Template {
    /// Checks a post-processor and reads its template for a single text.
    ///
    /// # Errors
    /// [`TokenizerError::File`] if it names unknown tokens, or has an unknown type.
    pub fn read(node: &Node, vocabulary: &Vocabulary) -> Result<Self, TokenizerError> {
        let template = match node.need("type")?.string()? {
            "ByteLevel" => Template::default(),
            "BertProcessing" | "RobertaProcessing" => Template {
                prefix: vec![pair(&node.need("cls")?, vocabulary)?],
                suffix: vec![pair(&node.need("sep")?, vocabulary)?],
            },
            "TemplateProcessing" => Template::read_single(node, vocabulary)?,
            "Sequence" => {
                let mut whole = Template::default();
                for part in node.need("processors")?.elements()? {
                    if part.need("type")?.string()? == "Sequence" {
                        return Err(part.error("sequences within sequences are not supported"));
                    }
                    let Template { mut prefix, suffix } = Template::read(&part, vocabulary)?;
                    prefix.append(&mut whole.prefix);
                    whole.prefix = prefix;
                    whole.suffix.extend(suffix);
                }
                whole
            }
            other => return Err(node.error(format!("the post-processor `{other}` is not supported"))),
        };
        if template.prefix.len() + template.suffix.len() > MOST_SPECIAL {
            return Err(node.error(format!("more than {MOST_SPECIAL} special tokens")));
        }
        Ok(template)
    }

    /// Reads the `TemplateProcessing` template for a single text.
    fn read_single(node: &Node, vocabulary: &Vocabulary) -> Result<Self, TokenizerError> {
        let special = node.need("special_tokens")?;
        let mut template = Template::default();
        let mut texts = 0;
        for piece in node.need("single")?.elements()? {
            piece.only(&["Sequence", "SpecialToken"])?;
            if let Some(sequence) = piece.get("Sequence")? {
                let id = sequence.need("id")?;
                if id.string()? != "A" {
                    return Err(id.error("a single text is sequence `A`"));
                }
                texts += 1;
            } else {
                let name = piece.need("SpecialToken")?.need("id")?.string()?;
                let token = special.need(name)?;
                let ids = if texts == 0 { &mut template.prefix } else { &mut template.suffix };
                for (id, token) in token.need("ids")?.elements()?.zip(token.need("tokens")?.elements()?) {
                    ids.push(checked(&id, token.string()?, vocabulary)?);
                }
            }
        }
        if texts != 1 {
            return Err(node.error(format!("the text occurs {texts} times in the template `single`")));
        }
        Ok(template)
    }
}

/// Reads a token and its id.
fn pair(node: &Node, vocabulary: &Vocabulary) -> Result<u32, TokenizerError> {
    let mut elements = node.elements()?;
    match (elements.next(), elements.next(), elements.next()) {
        (Some(token), Some(id), None) => checked(&id, token.string()?, vocabulary),
        _ => Err(node.error("expected a token and its id")),
    }
}

/// Checks that an id matches its token.
fn checked(id: &Node, token: &str, vocabulary: &Vocabulary) -> Result<u32, TokenizerError> {
    let found = id_of(id)?;
    match vocabulary.id(token) {
        Some(known) if known == found => Ok(found),
        Some(known) => Err(id.error(format!("`{token}` has id {known}, not {found}"))),
        None => Err(id.error(format!("`{token}` is not in the vocabulary"))),
    }
}
