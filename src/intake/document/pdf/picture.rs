//! The picture that a page is, in the plainest form, for text recognition.

use super::super::error::{Flaw, Unreadable};
use super::super::limits::Limits;
use super::super::scan::PICTURE;
use super::{damaged, opened};
use hayro_interpret::font::GlyphRun;
use hayro_interpret::kurbo::{Affine, BezPath, Rect};
use hayro_interpret::{
    BlendMode, ClipPath, Context, Device, DrawMode, DrawProps, Image, ImageData, ImageDrawProps,
    InterpreterCache, InterpreterSettings, LumaData, SoftMask, interpret_page,
};

/// Dots of the largest picture that is given out: A4 at 600 dots an inch.
const MOST_DOTS: u64 = 36 << 20;

/// The largest picture of a page, counted from 1, in grey.
pub fn picture(bytes: Vec<u8>, page: usize, limits: &Limits) -> Result<Vec<u8>, Unreadable> {
    let pdf = opened(bytes)?;
    let page = page.checked_sub(1).and_then(|index| pdf.pages().get(index));
    let page = page.ok_or_else(|| damaged(Flaw::NoPages))?;
    let cache = InterpreterCache::new();
    let (width, height) = page.render_dimensions();
    let area = Rect::new(0.0, 0.0, f64::from(width), f64::from(height));
    let turn = Affine::new(page.initial_transform(true).as_coeffs());
    let mut context = Context::new(turn, area, &cache, page.xref(), InterpreterSettings::default());
    let mut lens = Lens { largest: None, share: 0.0, too_large: false };
    interpret_page(page, &mut context, &mut lens);
    match lens.largest {
        Some((grey, turned)) => Ok(written(&grey, turned)),
        None if lens.too_large => Err(Unreadable::Memory { limit: limits.memory >> 20 }),
        None => Err(damaged(Flaw::Structure)),
    }
}

/// Quarter turns by which a picture lies on its page.
#[derive(Clone, Copy)]
struct Turns(u8);

struct Lens {
    largest: Option<(LumaData, Turns)>,
    share: f64,
    too_large: bool,
}

impl<'a> Device<'a> for Lens {
    fn draw_image(&mut self, image: Image<'a, '_>, properties: ImageDrawProps<'a>) {
        let (width, height) = (u64::from(image.width()), u64::from(image.height()));
        let drawn =
            properties.transform.transform_rect_bbox(Rect::new(0.0, 0.0, width as f64, height as f64));
        if !drawn.is_finite() || drawn.area() <= self.share {
            return;
        }
        if width.saturating_mul(height) > MOST_DOTS {
            self.too_large = true;
            return;
        }
        let mut taken = None;
        match &image {
            Image::Raster(raster) => raster.with_rgba(|data, _| taken = Some(grey(data)), None),
            // Ink is where the stencil lets paint through.
            Image::Stencil(stencil) => stencil.with_stencil(
                |mut mask, _| {
                    mask.data.iter_mut().for_each(|dot| *dot = 255 - *dot);
                    taken = Some(mask);
                },
                None,
            ),
        }
        let [a, b, ..] = properties.transform.as_coeffs();
        let turns = match (a.abs() >= b.abs(), a >= 0.0, b >= 0.0) {
            (true, true, _) => 0,
            (true, false, _) => 2,
            (false, _, true) => 1,
            (false, _, false) => 3,
        };
        if let Some(taken) = taken {
            self.largest = Some((taken, Turns(turns)));
            self.share = drawn.area();
        }
    }

    fn draw_glyph_run(&mut self, _: &GlyphRun<'_, 'a>, _: DrawProps<'a>, _: &DrawMode) {}
    fn draw_path(&mut self, _: &BezPath, _: DrawProps<'a>, _: &DrawMode) {}
    fn push_clip_path(&mut self, _: &ClipPath) {}
    fn push_clip_rect(&mut self, _: &Rect) {}
    fn push_transparency_group(&mut self, _: f32, _: Option<SoftMask<'a>>, _: BlendMode) {}
    fn pop_clip(&mut self) {}
    fn pop_transparency_group(&mut self) {}
    fn draw_rect(&mut self, _: &Rect, _: DrawProps<'a>, _: &DrawMode) {}
}

fn grey(data: ImageData) -> LumaData {
    let rgb = match data {
        ImageData::Luma(luma) => return luma,
        ImageData::Rgb(rgb) => rgb,
    };
    let brightness = |dot: &[u8]| match dot {
        [red, green, blue] => {
            let sum = u32::from(*red) * 299 + u32::from(*green) * 587 + u32::from(*blue) * 114;
            u8::try_from(sum / 1000).unwrap_or(u8::MAX)
        }
        _ => u8::MAX,
    };
    LumaData {
        data: rgb.data.chunks_exact(3).map(brightness).collect(),
        width: rgb.width,
        height: rgb.height,
        interpolate: rgb.interpolate,
        scale_factors: rgb.scale_factors,
    }
}

/// As a portable greymap (PGM), turned upright.
fn written(grey: &LumaData, Turns(turns): Turns) -> Vec<u8> {
    let (width, height) = (grey.width as usize, grey.height as usize);
    let (across, down) = if turns % 2 == 0 { (width, height) } else { (height, width) };
    let mut file = PICTURE.to_vec();
    file.extend(format!("{across} {down}\n255\n").bytes());
    if turns == 0 {
        file.extend(&grey.data);
        return file;
    }
    file.reserve(across * down);
    for y in 0..down {
        for x in 0..across {
            let (from_x, from_y) = match turns {
                1 => (y, height - 1 - x),
                2 => (width - 1 - x, height - 1 - y),
                _ => (width - 1 - y, x),
            };
            file.push(grey.data.get(from_y * width + from_x).copied().unwrap_or(u8::MAX));
        }
    }
    file
}
