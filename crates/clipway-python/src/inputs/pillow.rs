//! PIL images: the pixels in their own mode, as Pillow has them.

use clipway_run::image::{Image, Samples, Transparency};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

/// The EXIF tag of the orientation.
const ORIENTATION: u16 = 0x0112;

/// Whether an object is a PIL image. Pillow is not imported for that.
pub fn is_image(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = object.py();
    let modules = py.import("sys")?.getattr("modules")?.cast_into::<PyDict>()?;
    match modules.get_item("PIL.Image")? {
        Some(module) => object.is_instance(&module.getattr("Image")?),
        None => Ok(false),
    }
}

/// The decoded image. Only images that are rotated by their orientation need it.
///
/// # Errors
/// A mode that clipway does not resize as Pillow does, and whatever Pillow raises on decoding.
pub fn decoded(image: &Bound<'_, PyAny>, with_orientation: bool) -> PyResult<Image> {
    let mode: String = image.getattr("mode")?.extract()?;
    let (width, height): (usize, usize) = image.getattr("size")?.extract()?;
    let bytes = |image: &Bound<'_, PyAny>| -> PyResult<Vec<u8>> {
        Ok(image.call_method0("tobytes")?.cast_into::<PyBytes>()?.as_bytes().to_vec())
    };
    let samples = match mode.as_str() {
        "1" => Samples::Bilevel(bytes(&image.call_method1("convert", ("L",))?)?),
        "L" => Samples::Gray(bytes(image)?),
        "LA" => Samples::GrayAlpha(bytes(image)?),
        "P" => Samples::Palette { indices: bytes(image)?, colors: Box::new(palette(image)?) },
        "RGB" => Samples::Rgb(bytes(image)?),
        "RGBA" => Samples::Rgba(bytes(image)?),
        "CMYK" => Samples::Cmyk(bytes(image)?),
        "I;16" => Samples::Gray16(words(&bytes(image)?)),
        // Little-endian words of big-endian samples: swapped, as Pillow resizes them.
        "I;16B" => Samples::Gray16Swapped(words(&bytes(image)?)),
        "I" => {
            Samples::Integer(bytes(image)?.as_chunks().0.iter().copied().map(i32::from_ne_bytes).collect())
        }
        "F" => Samples::Real(bytes(image)?.as_chunks().0.iter().copied().map(f32::from_ne_bytes).collect()),
        _ => {
            return Err(PyValueError::new_err(format!(
                "the PIL mode `{mode}` is not supported: pass `image.convert(\"RGB\")`"
            )));
        }
    };
    let transparency = match samples {
        Samples::GrayAlpha(_) | Samples::Rgba(_) => None,
        _ => transparency(image, &samples)?,
    };
    let orientation = if with_orientation { orientation(image)? } else { None };
    Ok(Image { width, height, orientation, transparency, samples })
}

fn words(bytes: &[u8]) -> Vec<u16> {
    bytes.as_chunks().0.iter().copied().map(u16::from_le_bytes).collect()
}

/// The 256 colors of a palette, as Pillow's own conversion gives them.
fn palette(image: &Bound<'_, PyAny>) -> PyResult<[[u8; 3]; 256]> {
    let py = image.py();
    // An image of every index with the same palette: what it converts to are the colors.
    let row = image.call_method1("crop", ((0, 0, 256, 1),))?;
    row.call_method1(
        "frombytes",
        (PyBytes::new(py, &std::array::from_fn::<u8, 256, _>(|index| index as u8)),),
    )?;
    row.getattr("info")?.call_method0("clear")?;
    let colors = row.call_method1("convert", ("RGB",))?.call_method0("tobytes")?.cast_into::<PyBytes>()?;
    let colors = colors.as_bytes().as_chunks::<3>().0;
    colors.try_into().map_err(|_| PyValueError::new_err("its palette does not have 256 colors"))
}

/// The transparency that an image states beside its samples.
fn transparency(image: &Bound<'_, PyAny>, samples: &Samples) -> PyResult<Option<Transparency>> {
    let stated = image.getattr("info")?.call_method1("get", ("transparency",))?;
    if stated.is_none() {
        return Ok(None);
    }
    if let Samples::Palette { .. } = samples {
        let mut alphas = Box::new([255; 256]);
        if let Ok(index) = stated.extract::<u8>() {
            alphas[usize::from(index)] = 0;
        } else if let Ok(bytes) = stated.cast::<PyBytes>() {
            alphas.iter_mut().zip(bytes.as_bytes()).for_each(|(alpha, byte)| *alpha = *byte);
        } else {
            return Ok(None);
        }
        return Ok(Some(Transparency::Alphas(alphas)));
    }
    let color = match stated.extract::<(u8, u8, u8)>() {
        Ok((red, green, blue)) => Some([red, green, blue]),
        Err(_) => stated.extract::<u8>().ok().map(|gray| [gray; 3]),
    };
    Ok(color.map(Transparency::Color))
}

fn orientation(image: &Bound<'_, PyAny>) -> PyResult<Option<u8>> {
    let stated = image.call_method0("getexif")?.call_method1("get", (ORIENTATION,))?;
    Ok(stated.extract::<u8>().ok().filter(|value| (1..=8).contains(value)))
}
