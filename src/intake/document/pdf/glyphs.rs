//! What a page draws: characters with their places, and how much of it is a picture.

use super::rules::{MOST_RULES, Rule, SHORTEST};
use hayro_interpret::font::{Glyph as Drawn, GlyphRun};
use hayro_interpret::hayro_cmap::BfString;
use hayro_interpret::kurbo::{Affine, BezPath, PathSeg, Point, Rect, Shape};
use hayro_interpret::{
    BlendMode, ClipPath, Context, Device, DrawMode, DrawProps, Image, ImageDrawProps, InterpreterCache,
    InterpreterSettings, SoftMask, interpret_page,
};
use hayro_syntax::object::Dict;
use hayro_syntax::page::Page;

/// One character, or the few that one sign stands for.
#[derive(Clone, Debug)]
pub struct Glyph {
    pub text: String,
    /// Where it begins and ends on its base line, from the left.
    pub from: f64,
    pub to: f64,
    /// The base line, from the top.
    pub base: f64,
    pub size: f64,
    pub bold: bool,
}

/// A page as it is drawn.
#[derive(Default)]
pub struct Sheet {
    pub width: f64,
    pub height: f64,
    pub glyphs: Vec<Glyph>,
    /// What is written from top to bottom, from bottom to top, or upside down, turned to be read.
    pub turned: [Vec<Glyph>; 3],
    /// The share of the page that the largest picture covers.
    pub picture: f64,
    /// Level and upright lines.
    pub rules: Vec<Rule>,
    /// Characters whose font does not say what they stand for.
    pub unnamed: usize,
}

impl Sheet {
    fn all(&self) -> impl Iterator<Item = &Glyph> {
        self.glyphs.iter().chain(self.turned.iter().flatten())
    }

    /// Characters that show something.
    pub fn words(&self) -> usize {
        self.all().filter(|glyph| !glyph.text.trim().is_empty()).count()
    }

    /// Bytes of all text.
    pub fn length(&self) -> usize {
        self.all().map(|glyph| glyph.text.len()).sum()
    }
}

/// Letters smaller than this many points are not for reading.
const SMALLEST: f64 = 1.0;

/// What a page draws; nothing if its text is longer than there is room.
pub fn sheet<'a>(page: &'a Page<'a>, cache: &InterpreterCache<'a>, room: usize) -> Option<Sheet> {
    let (width, height) = page.render_dimensions();
    let (width, height) = (f64::from(width), f64::from(height));
    let turn = page.initial_transform(true).as_coeffs();
    let area = Rect::new(0.0, 0.0, width, height);
    let settings = InterpreterSettings::default();
    let mut context = Context::new(Affine::new(turn), area, cache, page.xref(), settings);
    let sheet = Sheet { width, height, ..Sheet::default() };
    let mut pen = Pen { sheet, room, decoration: Vec::new(), over: false };
    interpret_page(page, &mut context, &mut pen);
    (!pen.over).then_some(pen.sheet)
}

struct Pen {
    sheet: Sheet,
    /// Bytes of text that may still be taken.
    room: usize,
    /// For each marked part that is open: whether it is decoration, such as a running header.
    decoration: Vec<bool>,
    over: bool,
}

impl Pen {
    fn put(&mut self, glyph: Glyph, direction: Point) {
        let length = glyph.text.len();
        if length > self.room {
            self.over = true;
            return;
        }
        self.room -= length;
        let Sheet { glyphs, turned: [down, up, over], .. } = &mut self.sheet;
        let row = if direction.x.abs() >= direction.y.abs() {
            if direction.x >= 0.0 { glyphs } else { over }
        } else if direction.y > 0.0 {
            down
        } else {
            up
        };
        row.push(glyph);
    }
}

impl Pen {
    /// Edges of areas count as lines, for lines are drawn as narrow areas, too.
    fn rule(&mut self, one: Point, other: Point) {
        let (across, down) = ((one.x - other.x).abs(), (one.y - other.y).abs());
        let rule = if across <= 1.0 && down >= SHORTEST {
            Rule { upright: true, at: one.x, from: one.y.min(other.y), to: one.y.max(other.y) }
        } else if down <= 1.0 && across >= SHORTEST {
            Rule { upright: false, at: one.y, from: one.x.min(other.x), to: one.x.max(other.x) }
        } else {
            return;
        };
        if self.sheet.rules.len() <= MOST_RULES && rule.at.is_finite() {
            self.sheet.rules.push(rule);
        }
    }
}

/// Whether the letters of a run are bold, as far as the font says.
fn is_bold(glyph: &Drawn<'_>) -> bool {
    let Drawn::Outline(outline) = glyph else { return false };
    let Some(font) = outline.font_data() else { return false };
    let name = font.postscript_name.unwrap_or_default().to_ascii_lowercase();
    font.weight.is_some_and(|weight| weight >= 600)
        || ["bold", "black", "heavy"].iter().any(|word| name.contains(word))
}

impl<'a> Device<'a> for Pen {
    fn draw_glyph_run(&mut self, run: &GlyphRun<'_, 'a>, properties: DrawProps<'a>, _: &DrawMode) {
        if self.over || self.decoration.contains(&true) {
            return;
        }
        let bold = run.glyphs().first().is_some_and(|glyph| is_bold(glyph));
        for glyph in run.glyphs() {
            let place = properties.transform * glyph.transform();
            let origin = place * Point::ZERO;
            let along = place * Point::new(1000.0, 0.0) - origin;
            let up = place * Point::new(0.0, 1000.0) - origin;
            let size = up.hypot();
            let text = match glyph.as_unicode() {
                Some(BfString::Char(c)) => String::from(c),
                Some(BfString::String(text)) => text,
                None => {
                    self.sheet.unnamed += 1;
                    continue;
                }
            };
            // Marks of ours are made of noncharacters.
            let text: String = text.chars().filter(|c| !('\u{fdd0}'..='\u{fdef}').contains(c)).collect();
            if !(size.is_finite() && origin.x.is_finite() && origin.y.is_finite()) || size < SMALLEST {
                continue;
            }
            let advance = match &**glyph {
                Drawn::Outline(outline) => outline.advance_width().map(f64::from),
                // Its unit is the font's own.
                Drawn::Type3(_) => None,
            };
            let advance = advance.filter(|advance| advance.is_finite()).unwrap_or(500.0).clamp(0.0, 3000.0);
            let long = along.hypot();
            let direction =
                if long > 0.0 { Point::new(along.x / long, along.y / long) } else { Point::new(1.0, 0.0) };
            // Turned to the nearest of four directions, so that the text runs from left to right.
            let straight =
                match (direction.x.abs() >= direction.y.abs(), direction.x >= 0.0, direction.y > 0.0) {
                    (true, true, _) => (origin.x, origin.y),
                    (true, false, _) => (-origin.x, -origin.y),
                    (false, _, true) => (origin.y, -origin.x),
                    (false, _, false) => (-origin.y, origin.x),
                };
            let (from, base) = straight;
            self.put(Glyph { text, from, to: from + advance * size / 1000.0, base, size, bold }, direction);
        }
    }

    fn draw_image(&mut self, image: Image<'a, '_>, properties: ImageDrawProps<'a>) {
        let (width, height) = (f64::from(image.width()), f64::from(image.height()));
        let drawn = properties.transform.transform_rect_bbox(Rect::new(0.0, 0.0, width, height));
        let page = Rect::new(0.0, 0.0, self.sheet.width, self.sheet.height);
        if page.area() > 0.0 && drawn.is_finite() {
            self.sheet.picture = self.sheet.picture.max(drawn.intersect(page).area() / page.area());
        }
    }

    fn begin_marked_content(&mut self, tag: &[u8], _: Option<&Dict<'_>>) {
        self.decoration.push(tag == b"Artifact");
    }

    fn end_marked_content(&mut self) {
        self.decoration.pop();
    }

    fn draw_path(&mut self, path: &BezPath, properties: DrawProps<'a>, _: &DrawMode) {
        for segment in path.segments() {
            if let PathSeg::Line(line) = segment {
                self.rule(properties.transform * line.p0, properties.transform * line.p1);
            }
        }
    }

    fn draw_rect(&mut self, rect: &Rect, properties: DrawProps<'a>, mode: &DrawMode) {
        self.draw_path(&rect.to_path(0.1), properties, mode);
    }

    fn push_clip_path(&mut self, _: &ClipPath) {}
    fn push_clip_rect(&mut self, _: &Rect) {}
    fn push_transparency_group(&mut self, _: f32, _: Option<SoftMask<'a>>, _: BlendMode) {}
    fn pop_clip(&mut self) {}
    fn pop_transparency_group(&mut self) {}
}
