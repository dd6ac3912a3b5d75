//! Licenses of pretrained weights: by their repository on the Hub, or by the hash of OpenAI's files.
//!
//! Only what was seen on the pages of the repositories, or of the code that the weights were released with, is listed.
//! Weights that are missing here are not free of terms: their license is not known.

use super::pretrained::{Pretrained, all};
use crate::contract::Origin;

/// Tags of one owner's repositories; a tag may end in `*`.
struct Family {
    license: &'static str,
    owner: &'static str,
    tags: &'static [&'static str],
}

/// Families of the registry's tags.
const FAMILIES: [Family; 15] = [
    Family { license: "mit", owner: "timm", tags: &["openai"] },
    Family { license: "mit", owner: "timm", tags: &["laion400m_e31", "laion400m_e32", "laion2b_e16"] },
    Family {
        license: "mit",
        owner: "laion",
        tags: &[
            "laion2b_*",
            "laion400m_*",
            "laion5b_*",
            "laion_aesthetic_*",
            "mscoco_finetuned_*",
            "frozen_laion5b_*",
        ],
    },
    Family { license: "mit", owner: "laion", tags: &["datacomp_*"] },
    // EVA-CLIP.
    Family {
        license: "mit",
        owner: "timm",
        tags: &["laion400m_s11b_b41k", "merged2b_*", "laion2b_s4b_b115k", "laion2b_s9b_b144k"],
    },
    Family { license: "mit", owner: "jienengchen", tags: &["datacomp1b"] },
    Family { license: "mit", owner: "visheratin", tags: &["mrl"] },
    Family { license: "cc-by-nc-4.0", owner: "visheratin", tags: &["v1"] },
    Family { license: "cc-by-nc-4.0", owner: "timm", tags: &["metaclip_400m", "metaclip_fullcc"] },
    Family { license: "apple-amlr", owner: "apple", tags: &["dfn2b", "dfn2b_s39b", "dfn5b"] },
    Family { license: "apple-amlr", owner: "apple", tags: &["datacompdr", "datacompdr_lt"] },
    Family { license: "apple-amlr", owner: "timm", tags: &["dfndr2b"] },
    Family { license: "apache-2.0", owner: "timm", tags: &["webli"] },
    Family { license: "apache-2.0", owner: "timm", tags: &["meta"] },
    Family { license: "apache-2.0", owner: "UCSC-VLAA", tags: &["datacomp1b", "laion2b"] },
];

/// Other repositories whose models clipway is asked for.
const REPOSITORIES: [(&str, &str); 8] = [
    ("BAAI/AltCLIP", "creativeml-openrail-m"),
    ("MahmoodLab/CONCH", "cc-by-nc-nd-4.0"),
    ("QuanSun/EVA-CLIP", "mit"),
    ("geolocal/StreetCLIP", "cc-by-nc-4.0"),
    ("jinaai/jina-clip-v2", "cc-by-nc-4.0"),
    ("laion/clap-htsat-fused", "apache-2.0"),
    ("microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224", "mit"),
    ("patrickjohncyh/fashion-clip", "mit"),
];

/// A license of the table, and what it was found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedLicense {
    /// Its identifier on the Hub.
    pub license: &'static str,
    /// The repository, or a tag as `NAME:TAG`.
    pub what: String,
}

impl ListedLicense {
    /// As an origin.
    pub fn origin(&self) -> Origin {
        Origin::LicenseTable { what: self.what.clone() }
    }
}

/// The license of a repository on the Hub, `OWNER/NAME`, if it is known.
pub fn license_of_repository(repository: &str) -> Option<ListedLicense> {
    let what = repository.to_owned();
    if let Some((_, license)) = REPOSITORIES.iter().find(|(known, _)| *known == repository) {
        return Some(ListedLicense { license, what });
    }
    let entry = all().iter().find(|entry| entry.repository() == Some(repository))?;
    license_of(entry).map(|license| ListedLicense { license, what })
}

/// The license of a pretrained tag, if it is known.
pub fn license_of_tag(entry: &Pretrained) -> Option<ListedLicense> {
    let what = format!("{}:{}", entry.model, entry.tag);
    license_of(entry).map(|license| ListedLicense { license, what })
}

/// The license of a weight file by its SHA-256, in hexadecimal digits.
pub fn license_of_weights(sha256: &str) -> Option<ListedLicense> {
    license_of_tag(all().iter().find(|entry| entry.url_hash() == Some(sha256))?)
}

/// The license of a tag, if it is known.
fn license_of(entry: &Pretrained) -> Option<&'static str> {
    let (owner, _) = entry.repository()?.split_once('/')?;
    let is_it = |family: &&Family| {
        family.owner == owner && family.tags.iter().any(|pattern| fits(pattern, &entry.tag))
    };
    FAMILIES.iter().find(is_it).map(|family| family.license)
}

/// Whether a tag is meant by a pattern of [`Family::tags`].
fn fits(pattern: &str, tag: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => tag.starts_with(start),
        None => tag == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn licenses_of_all_tags() {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let mut of_repository = BTreeMap::new();
        for entry in all() {
            let license = license_of(entry).unwrap_or("not known");
            *counts.entry(license).or_default() += 1;
            let repository = entry.repository().unwrap();
            let before = of_repository.insert(repository, license);
            assert!(before.is_none_or(|before| before == license), "{repository}");
            let listed = license_of_repository(repository).map(|listed| listed.license);
            assert_eq!(listed.unwrap_or("not known"), license);
        }
        let expected =
            [("apache-2.0", 38), ("apple-amlr", 19), ("cc-by-nc-4.0", 20), ("mit", 86), ("not known", 33)];
        assert_eq!(counts, BTreeMap::from(expected));
        assert_eq!(counts.values().sum::<usize>(), 196);
        for family in &FAMILIES {
            let uses = |pattern: &str| all().iter().any(|entry| fits(pattern, &entry.tag));
            assert!(family.tags.iter().all(|tag| uses(tag)), "{:?}", family.tags);
        }
    }

    #[test]
    fn tags_of_the_table() {
        for (model, tag, license) in [
            ("ViT-B-32", "openai", Some("mit")),
            ("ViT-B-32", "laion2b_s34b_b79k", Some("mit")),
            ("ViT-B-16", "datacomp_xl_s13b_b90k", Some("mit")),
            ("ViT-B-16", "commonpool_l_s1b_b8k", None),
            ("ViT-B-16", "dfn2b", Some("apple-amlr")),
            ("MobileCLIP2-S0", "dfndr2b", Some("apple-amlr")),
            ("ViT-H-14", "metaclip_fullcc", Some("cc-by-nc-4.0")),
            ("ViT-H-14", "metaclip_altogether", None),
            ("ViT-B-16-SigLIP2", "webli", Some("apache-2.0")),
            ("EVA02-B-16", "merged2b_s8b_b131k", Some("mit")),
            ("ViT-L-14-CLIPA", "datacomp1b", Some("apache-2.0")),
            ("ViTamin-S", "datacomp1b", Some("mit")),
            ("nllb-clip-base", "v1", Some("cc-by-nc-4.0")),
            ("RN50", "cc12m", None),
        ] {
            let entry = super::super::tag(model, tag).unwrap();
            assert_eq!(license_of(entry), license, "{model}:{tag}");
        }
        assert_eq!(license_of_repository("someone/else"), None);
        let found = license_of_repository("geolocal/StreetCLIP").unwrap();
        assert_eq!((found.license, found.what.as_str()), ("cc-by-nc-4.0", "geolocal/StreetCLIP"));
    }
}
