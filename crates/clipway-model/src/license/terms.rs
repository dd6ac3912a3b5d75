//! Licenses by identifier: which ones the Hub knows, and which ones restrict use.

/// The Hub's identifiers of licenses.
const ON_HUB: [&str; 78] = [
    "afl-3.0",
    "agpl-3.0",
    "apache-2.0",
    "apple-amlr",
    "apple-ascl",
    "artistic-2.0",
    "bigcode-openrail-m",
    "bigscience-bloom-rail-1.0",
    "bigscience-openrail-m",
    "bsd",
    "bsd-2-clause",
    "bsd-3-clause",
    "bsd-3-clause-clear",
    "bsl-1.0",
    "c-uda",
    "cc",
    "cc-by-2.0",
    "cc-by-2.5",
    "cc-by-3.0",
    "cc-by-4.0",
    "cc-by-nc-2.0",
    "cc-by-nc-3.0",
    "cc-by-nc-4.0",
    "cc-by-nc-nd-3.0",
    "cc-by-nc-nd-4.0",
    "cc-by-nc-sa-2.0",
    "cc-by-nc-sa-3.0",
    "cc-by-nc-sa-4.0",
    "cc-by-nd-4.0",
    "cc-by-sa-3.0",
    "cc-by-sa-4.0",
    "cc0-1.0",
    "cdla-permissive-1.0",
    "cdla-permissive-2.0",
    "cdla-sharing-1.0",
    "creativeml-openrail-m",
    "deepfloyd-if-license",
    "ecl-2.0",
    "epl-1.0",
    "epl-2.0",
    "etalab-2.0",
    "eupl-1.1",
    "eupl-1.2",
    "fair-noncommercial-research-license",
    "gemma",
    "gfdl",
    "gpl",
    "gpl-2.0",
    "gpl-3.0",
    "h-research",
    "intel-research",
    "isc",
    "lgpl",
    "lgpl-2.1",
    "lgpl-3.0",
    "lgpl-lr",
    "llama2",
    "llama3",
    "llama3.1",
    "llama3.2",
    "llama3.3",
    "llama4",
    "lppl-1.3c",
    "mit",
    "mpl-2.0",
    "ms-pl",
    "ncsa",
    "odbl",
    "odc-by",
    "ofl-1.1",
    "openrail",
    "openrail++",
    "osl-3.0",
    "pddl",
    "postgresql",
    "unlicense",
    "wtfpl",
    "zlib",
];

/// Whether the Hub has this identifier for a license. `other` and `unknown` name none.
pub fn is_on_hub(license: &str) -> bool {
    ON_HUB.contains(&license)
}

/// The Hub's identifier where a name can only mean that one, such as `Apache 2.0`; else the name as it is.
pub fn canonical(name: &str) -> String {
    let plain = |text: &str| -> String {
        text.chars()
            .filter(|c| c.is_ascii_alphanumeric() || "+.".contains(*c))
            .collect::<String>()
            .to_lowercase()
    };
    let name = name.trim();
    let wanted = plain(name);
    let known = ON_HUB.iter().chain(&["other"]).find(|id| plain(id) == wanted);
    known.map_or_else(|| name.to_owned(), |id| (*id).to_owned())
}

/// What a license does not permit, if its identifier shows it.
pub fn restriction(license: &str) -> Option<&'static str> {
    let name = license.to_lowercase();
    let words: Vec<&str> = name.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let has = |word: &str| words.contains(&word);
    let no_commerce = has("nc") || has("noncommercial") || name.contains("non-commercial");
    match name.as_str() {
        "apple-amlr" | "deepfloyd-if-license" => Some("permits research only"),
        _ if has("research") => Some("permits research only"),
        _ if no_commerce && has("nd") => {
            Some("permits neither commercial use nor the sharing of changed versions")
        }
        _ if no_commerce => Some("does not permit commercial use"),
        _ if has("nd") => Some("does not permit the sharing of changed versions"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_identifiers_only_where_that_is_certain() {
        for (name, id) in [
            ("MIT", "mit"),
            ("Apache 2.0", "apache-2.0"),
            ("Apache-2.0", "apache-2.0"),
            ("BSD-3-Clause", "bsd-3-clause"),
            ("CC BY-NC 4.0", "cc-by-nc-4.0"),
            ("Other", "other"),
            ("OpenRAIL++", "openrail++"),
            ("apple-sample-code-license", "apple-sample-code-license"),
            ("MIT or so", "MIT or so"),
            ("", ""),
        ] {
            assert_eq!(canonical(name), id);
        }
        assert!(ON_HUB.is_sorted() && is_on_hub("mit") && !is_on_hub("other"));
    }

    #[test]
    fn restrictions_are_known() {
        let commerce = Some("does not permit commercial use");
        for (license, expected) in [
            ("cc-by-nc-4.0", commerce),
            ("cc-by-nc-sa-4.0", commerce),
            ("My Non-Commercial License", commerce),
            ("cc-by-nc-nd-4.0", Some("permits neither commercial use nor the sharing of changed versions")),
            ("cc-by-nd-4.0", Some("does not permit the sharing of changed versions")),
            ("apple-amlr", Some("permits research only")),
            ("fair-noncommercial-research-license", Some("permits research only")),
            ("mit", None),
            ("cc-by-4.0", None),
            ("ncsa", None),
            ("apple-ascl", None),
            ("creativeml-openrail-m", None),
        ] {
            assert_eq!(restriction(license), expected, "{license}");
        }
    }
}
