//! Licenses by the text of their file. A text is recognized only as a whole: with its own sentences, without another
//! license's, and no longer than it is. Anything else stays unknown.

/// How a license's text is recognized, in lower case with single spaces and without quotation marks.
struct Text {
    id: &'static str,
    /// Begins within the first characters.
    title: &'static str,
    /// A sentence of it and its variants; a text with another license's is two licenses.
    core: &'static str,
    /// Sentences that it has.
    has: &'static [&'static str],
    /// Sentences of others that are alike.
    lacks: &'static [&'static str],
    /// Longest length, in characters.
    most: usize,
}

/// Where a title must begin.
const HEAD: usize = 400;

const MIT: &str =
    "permission is hereby granted, free of charge, to any person obtaining a copy of this software";
const APACHE: &str = "apache license version 2.0, january 2004";
const CC_0: &str = "cc0 1.0 universal";
const APPLE_MODEL: &str =
    "important: this apple machine learning research model is specifically developed and released by apple";
const APPLE_CODE: &str = "important: this apple software is supplied to you by apple";

/// Sentences of the BSD licenses.
const BSD: &str =
    "redistribution and use in source and binary forms, with or without modification, are permitted";
const NEITHER: &str = "may be used to endorse or promote products derived from this software";
const ADVERTISING: &str = "all advertising materials";
const PATENTS: &str = "no express or implied licenses to any party's patent rights are granted";

const CC_END: &str = "creative commons is not a party to its public licenses";
const CC_SECTION: &str = "by exercising the licensed rights";

const TEXTS: [Text; 17] = [
    Text {
        id: "mit",
        title: MIT,
        core: MIT,
        has: &[
            "to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the software",
            "the above copyright notice and this permission notice shall be included in all copies",
            "the software is provided as is, without warranty of any kind",
        ],
        lacks: &["commons clause", "commercial use", "non-commercial", "noncommercial", "research"],
        most: 1500,
    },
    Text {
        id: "apache-2.0",
        title: APACHE,
        core: APACHE,
        has: &[
            "terms and conditions for use, reproduction, and distribution",
            "grant of patent license",
            "end of terms and conditions",
        ],
        lacks: &["commons clause", "llvm exceptions"],
        most: 12_000,
    },
    Text {
        id: "bsd-2-clause",
        title: BSD,
        core: BSD,
        has: &[BSD],
        lacks: &[NEITHER, ADVERTISING, PATENTS],
        most: 1800,
    },
    Text {
        id: "bsd-3-clause",
        title: BSD,
        core: BSD,
        has: &[BSD, NEITHER],
        lacks: &[ADVERTISING, PATENTS],
        most: 2200,
    },
    Text {
        id: "bsd-3-clause-clear",
        title: BSD,
        core: BSD,
        has: &[BSD, NEITHER, PATENTS],
        lacks: &[ADVERTISING],
        most: 2400,
    },
    cc("cc-by-4.0", "attribution 4.0 international"),
    cc("cc-by-sa-4.0", "attribution-sharealike 4.0 international"),
    cc("cc-by-nd-4.0", "attribution-noderivatives 4.0 international"),
    cc("cc-by-nc-4.0", "attribution-noncommercial 4.0 international"),
    cc("cc-by-nc-sa-4.0", "attribution-noncommercial-sharealike 4.0 international"),
    cc("cc-by-nc-nd-4.0", "attribution-noncommercial-noderivatives 4.0 international"),
    Text {
        id: "cc0-1.0",
        title: CC_0,
        core: CC_0,
        has: &["statement of purpose", "waiver", "public license fallback"],
        lacks: &[],
        most: 8000,
    },
    Text {
        id: "apple-amlr",
        title: APPLE_MODEL,
        core: APPLE_MODEL,
        has: &["for the sole purpose of scientific research", "exclusively for research purposes"],
        lacks: &[],
        most: 12_000,
    },
    Text {
        id: "apple-ascl",
        title: APPLE_CODE,
        core: APPLE_CODE,
        has: &["personal, non-exclusive license, under apple's copyrights"],
        lacks: &["research purposes", "research model"],
        most: 4000,
    },
    rail("creativeml-openrail-m", "creativeml open rail-m"),
    rail("bigscience-openrail-m", "bigscience open rail-m license"),
    rail("bigcode-openrail-m", "bigcode open rail-m"),
];

const fn cc(id: &'static str, title: &'static str) -> Text {
    Text { id, title, core: CC_SECTION, has: &[CC_END], lacks: &[], most: 22_000 }
}

const fn rail(id: &'static str, title: &'static str) -> Text {
    Text {
        id,
        title,
        core: title,
        has: &["use-based restrictions", "attachment a"],
        lacks: &[],
        most: 20_000,
    }
}

/// The license whose text this is, if it is certain.
pub(super) fn recognize(text: &str) -> Option<&'static str> {
    let text = plain(text);
    let head = text.char_indices().nth(HEAD).map_or(text.as_str(), |(at, _)| &text[..at]);
    let fits = |known: &&Text| {
        // A title ends within the head's length after where it may begin.
        let starts = |at: usize| at <= head.len();
        text.find(known.title).is_some_and(starts)
            && TEXTS.iter().all(|other| (other.core == known.core) == text.contains(other.core))
            && known.has.iter().all(|sentence| text.contains(sentence))
            && !known.lacks.iter().any(|sentence| text.contains(sentence))
            && text.chars().count() <= known.most
    };
    let mut found = TEXTS.iter().filter(fits);
    let first = found.next()?;
    found.next().is_none().then_some(first.id)
}

/// Lower case, single spaces, plain quotes and dashes, no marks that only decorate.
fn plain(text: &str) -> String {
    let text: String = text
        .chars()
        .filter_map(|c| match c {
            '“' | '”' | '"' | '`' | '*' | '#' | '=' | '_' | '>' => None,
            '’' | '‘' => Some('\''),
            '–' | '—' => Some('-'),
            c => Some(c),
        })
        .collect();
    text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIT_TEXT: &str = include_str!("../../../../LICENSE-MIT");
    const APACHE_TEXT: &str = include_str!("../../../../LICENSE-APACHE");
    const BSD_2: &str = "Copyright (c) 2020\n\nRedistribution and use in source and binary forms, with or without\n\
        modification, are permitted provided that the following conditions are met:\n\n1. Redistributions \
        of source code must retain the above copyright notice.\n";
    const NAME: &str = "Neither the name of x nor the names of its contributors may be used to endorse or\n\
        promote products derived from this software without permission.\n";

    #[test]
    fn whole_texts_are_recognized() {
        assert_eq!(recognize(MIT_TEXT), Some("mit"));
        assert_eq!(recognize(APACHE_TEXT), Some("apache-2.0"));
        assert_eq!(recognize(BSD_2), Some("bsd-2-clause"));
        assert_eq!(recognize(&format!("{BSD_2}{NAME}")), Some("bsd-3-clause"));
        let clear =
            format!("{BSD_2}{NAME}NO EXPRESS OR IMPLIED LICENSES TO ANY PARTY'S PATENT RIGHTS ARE GRANTED");
        assert_eq!(recognize(&clear), Some("bsd-3-clause-clear"));
        let cc = |title: &str| {
            format!(
                "{title}\n=====\nBy exercising the Licensed Rights …\nCreative Commons is not a party to its public licenses."
            )
        };
        for (title, id) in [
            ("Attribution 4.0 International", "cc-by-4.0"),
            ("# Attribution-NonCommercial 4.0 International", "cc-by-nc-4.0"),
            ("Attribution-NonCommercial-NoDerivatives 4.0 International", "cc-by-nc-nd-4.0"),
            ("Attribution-ShareAlike 4.0 International", "cc-by-sa-4.0"),
        ] {
            assert_eq!(recognize(&cc(title)), Some(id));
        }
        let apple = "Disclaimer: IMPORTANT: This Apple Machine Learning Research Model is\nspecifically developed and \
            released by Apple Inc. (\"Apple\") for the sole purpose of scientific research … exclusively for Research Purposes.";
        assert_eq!(recognize(apple), Some("apple-amlr"));
        let rail = "CreativeML Open RAIL-M\ndated August 22, 2022 … Use-based restrictions … Attachment A";
        assert_eq!(recognize(rail), Some("creativeml-openrail-m"));
    }

    #[test]
    fn anything_else_is_not_guessed() {
        let unknown = [
            String::new(),
            "MIT License".to_owned(),
            "This model is licensed under CC-BY-NC-4.0.".to_owned(),
            // Two licenses in one file, or one with more terms.
            format!("{MIT_TEXT}\n\n{APACHE_TEXT}"),
            format!("{APACHE_TEXT}\n\n{MIT_TEXT}"),
            format!("{APACHE_TEXT}\n\n{BSD_2}"),
            format!("{MIT_TEXT}\nThe model may be used for research only."),
            format!("{MIT_TEXT}\n\"Commons Clause\" License Condition v1.0"),
            format!("{BSD_2}All advertising materials mentioning features …"),
            format!("{APACHE_TEXT}\n---- LLVM Exceptions to the Apache 2.0 License ----"),
            format!("{}\n{BSD_2}", "Our own terms come first. ".repeat(30)),
            // A license that is quoted far below the beginning.
            format!("{}\n{APACHE_TEXT}", "Our own terms come first. ".repeat(30)),
        ];
        for text in unknown {
            assert_eq!(recognize(&text), None, "{text}");
        }
    }
}
