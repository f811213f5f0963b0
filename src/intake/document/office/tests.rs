//! Small office files, written by hand.

use super::super::archive::tests::zipped;
use super::super::{Limits, Text, Unreadable};
use super::{docx, odt, xlsx};

fn word(body: &str, more: &[(&str, &str)]) -> Result<Text, Unreadable> {
    let document = format!("<w:document><w:body>{body}</w:body></w:document>");
    let parts: Vec<(&str, String)> = vec![
        (
            "_rels/.rels",
            relations(&[("officeDocument", "word/document.xml"), ("core-properties", "docProps/core.xml")]),
        ),
        (
            "word/_rels/document.xml.rels",
            relations(&[
                ("styles", "styles.xml"),
                ("numbering", "numbering.xml"),
                ("footnotes", "/word/footnotes.xml"),
                ("endnotes", "endnotes.xml"),
            ]),
        ),
        ("word/document.xml", document),
    ];
    let mut all: Vec<(&str, &str)> = parts.iter().map(|(name, text)| (*name, text.as_str())).collect();
    all.extend(more);
    docx::read(&zipped(&all), &Limits::default())
}

fn relations(targets: &[(&str, &str)]) -> String {
    let one = |(kind, target): &(&str, &str)| {
        format!("<Relationship Id=\"{kind}\" Type=\"http://x/{kind}\" Target=\"{target}\"/>")
    };
    format!("<Relationships>{}</Relationships>", targets.iter().map(one).collect::<String>())
}

fn paragraph(properties: &str, text: &str) -> String {
    format!("<w:p><w:pPr>{properties}</w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>")
}

#[test]
fn word_headings_lists_and_notes() {
    let styles = "<w:styles><w:docDefaults><w:rPr><w:lang w:val=\"de-DE\"/></w:rPr></w:docDefaults>\
        <w:style w:styleId=\"T\"><w:name w:val=\"Title\"/></w:style>\
        <w:style w:styleId=\"H\"><w:name w:val=\"heading 2\"/></w:style>\
        <w:style w:styleId=\"O\"><w:name w:val=\"Own\"/><w:basedOn w:val=\"H\"/></w:style>\
        <w:style w:styleId=\"N\"><w:name w:val=\"Numbered\"/><w:pPr><w:numPr><w:numId w:val=\"2\"/></w:numPr>\
        <w:outlineLvl w:val=\"2\"/></w:pPr></w:style>\
        <w:style w:styleId=\"C\"><w:name w:val=\"toc 1\"/></w:style></w:styles>";
    let numbering = "<w:numbering><w:abstractNum w:abstractNumId=\"7\"><w:lvl w:ilvl=\"0\"><w:numFmt w:val=\"bullet\"/></w:lvl>\
        <w:lvl w:ilvl=\"1\"><w:start w:val=\"3\"/><w:numFmt w:val=\"lowerLetter\"/></w:lvl></w:abstractNum>\
        <w:abstractNum w:abstractNumId=\"8\"><w:lvl w:ilvl=\"0\"><w:numFmt w:val=\"decimal\"/><w:lvlText w:val=\"§ %1\"/></w:lvl></w:abstractNum>\
        <w:num w:numId=\"1\"><w:abstractNumId w:val=\"7\"/></w:num><w:num w:numId=\"2\"><w:abstractNumId w:val=\"8\"/></w:num></w:numbering>";
    let footnotes = "<w:footnotes><w:footnote w:id=\"-1\" w:type=\"separator\"><w:p/></w:footnote><w:footnote w:id=\"2\">\
        <w:p><w:r><w:footnoteRef/><w:t xml:space=\"preserve\"> Without </w:t></w:r><w:r><w:t>tax.</w:t></w:r></w:p></w:footnote></w:footnotes>";
    let endnotes = "<w:endnotes><w:endnote w:id=\"2\"><w:p><w:r><w:t>The end.</w:t></w:r></w:p></w:endnote></w:endnotes>";
    let core = "<cp:coreProperties><dc:title> Price\nlist </dc:title></cp:coreProperties>";
    let style = |id: &str| format!("<w:pStyle w:val=\"{id}\"/>");
    let item = |level: usize| format!("<w:numPr><w:ilvl w:val=\"{level}\"/><w:numId w:val=\"1\"/></w:numPr>");
    let body = [
        paragraph(&style("T"), "Prices"),
        paragraph(&style("C"), "Fees ..... 1"),
        paragraph(&style("O"), "Fees"),
        paragraph(&style("N"), "Scope"),
        paragraph(&style("N"), "Term"),
        paragraph(&item(0), "one"),
        paragraph(&item(1), "two"),
        paragraph(&item(1), "three"),
        paragraph("<w:outlineLvl w:val=\"9\"/>", "# no heading"),
        "<w:p><w:r><w:t>A fee</w:t><w:footnoteReference w:id=\"2\"/><w:t>,</w:t><w:br/><w:tab/><w:t>due</w:t>\
         <w:endnoteReference w:id=\"2\"/></w:r><w:del><w:r><w:delText>gone</w:delText></w:r></w:del>\
         <w:r><w:instrText>PAGE</w:instrText></w:r></w:p>"
            .to_owned(),
    ];
    let parts = [
        ("word/styles.xml", styles),
        ("word/numbering.xml", numbering),
        ("word/footnotes.xml", footnotes),
        ("word/endnotes.xml", endnotes),
        ("docProps/core.xml", core),
    ];
    let text = word(&body.concat(), &parts).unwrap();
    assert_eq!((text.title.as_deref(), text.language.as_deref()), (Some("Price list"), Some("de")));
    assert_eq!(
        text.text,
        "# Prices\n\n## Fees\n\n### § 1 Scope\n\n### § 2 Term\n\n- one\n    3. two\n    4. three\n\n\\# no heading\n\n\
         A fee[^1],\ndue[^2]\n\n[^1]: Without tax.\n[^2]: The end."
    );
    assert!(text.pages.is_empty());
}

#[test]
fn word_tables_keep_their_places() {
    let cell = |properties: &str, text: &str| {
        format!("<w:tc><w:tcPr>{properties}</w:tcPr>{}</w:tc>", paragraph("", text))
    };
    let row = |cells: &[String]| format!("<w:tr>{}</w:tr>", cells.concat());
    let inner = format!("<w:tbl>{}</w:tbl>", row(&[cell("", "x"), cell("", "y")]));
    let body = format!(
        "<w:tbl>{}{}{}</w:tbl>{}",
        row(&[cell("", "A"), cell("<w:gridSpan w:val=\"2\"/>", "B")]),
        row(&[cell("<w:vMerge w:val=\"restart\"/>", "a"), cell("", ""), cell("", "c|d")]),
        row(&[
            cell("<w:vMerge/>", ""),
            format!("<w:tc>{}{inner}</w:tc>", paragraph("", "in")),
            cell("", "e")
        ]),
        paragraph("", "after")
    );
    let text = word(&body, &[]).unwrap().text;
    assert_eq!(text, "| A | B |  |\n| --- | --- | --- |\n| a |  | c\\|d |\n|  | in x / y | e |\n\nafter");
}

#[test]
fn word_pages_are_counted_once() {
    let laid_out = "<w:r><w:lastRenderedPageBreak/></w:r>";
    let body = format!(
        "<w:p><w:r><w:t>one</w:t><w:br w:type=\"page\"/></w:r></w:p><w:p>{laid_out}<w:r><w:t>two </w:t></w:r>{laid_out}\
         <w:r><w:t>three</w:t></w:r></w:p><w:p><w:pPr><w:sectPr><w:type w:val=\"nextPage\"/></w:sectPr></w:pPr><w:r><w:t>end</w:t></w:r></w:p>\
         <w:p><w:pPr><w:pageBreakBefore/></w:pPr>{laid_out}<w:r><w:t>four</w:t></w:r></w:p>"
    );
    let text = word(&body, &[]).unwrap();
    assert_eq!(text.text, "one\n\ntwo three\n\nend\n\nfour");
    assert_eq!(text.pages, [0, 5, 9, 21]);
}

#[test]
fn what_word_shows_twice_is_read_once() {
    let body = "<w:sdt><w:sdtPr><w:docPartObj><w:docPartGallery w:val=\"Table of Contents\"/></w:docPartObj></w:sdtPr>\
        <w:sdtContent><w:p><w:r><w:t>contents</w:t></w:r></w:p></w:sdtContent></w:sdt>\
        <w:sdt><w:sdtContent><w:p><w:r><w:t>field</w:t></w:r></w:p></w:sdtContent></w:sdt>\
        <w:p><w:r><w:t>text</w:t><mc:AlternateContent><mc:Choice><w:txbxContent><w:p><w:r><w:t>box</w:t></w:r></w:p>\
        </w:txbxContent></mc:Choice><mc:Fallback><w:p><w:r><w:t>box</w:t></w:r></w:p></mc:Fallback></mc:AlternateContent></w:r></w:p>";
    assert_eq!(word(body, &[]).unwrap().text, "field\n\nbox\n\ntext");
}

fn open_document(styles: &str, body: &str) -> Result<Text, Unreadable> {
    let content = format!(
        "<office:document-content><office:automatic-styles>{styles}</office:automatic-styles><office:body><office:text>{body}\
         </office:text></office:body></office:document-content>"
    );
    let meta = "<office:document-meta><office:meta><dc:title>Terms</dc:title><dc:language>en-GB</dc:language></office:meta></office:document-meta>";
    let kind = "application/vnd.oasis.opendocument.text";
    let parts = [("mimetype", kind), ("content.xml", content.as_str()), ("meta.xml", meta)];
    odt::read(&zipped(&parts), &Limits::default())
}

#[test]
fn open_document_structure() {
    let styles = "<text:list-style style:name=\"L\"><text:list-level-style-number text:level=\"1\" style:num-format=\"1\"/>\
        <text:list-level-style-bullet text:level=\"2\"/></text:list-style>";
    let body = "<text:tracked-changes><text:p>gone</text:p></text:tracked-changes>\
        <text:h text:outline-level=\"2\">Fees<text:s/>now</text:h>\
        <text:p>due<text:note><text:note-citation>1</text:note-citation><text:note-body><text:p>Monthly.</text:p></text:note-body></text:note>\
        <text:line-break/>always<office:annotation><text:p>remark</text:p></office:annotation></text:p>\
        <text:list text:style-name=\"L\"><text:list-item><text:p>a</text:p><text:p>more</text:p><text:list><text:list-item><text:p>b</text:p>\
        </text:list-item></text:list></text:list-item><text:list-item><text:p>c</text:p></text:list-item></text:list>\
        <table:table><table:table-header-rows><table:table-row><table:table-cell><text:p>A</text:p></table:table-cell>\
        <table:table-cell table:number-columns-spanned=\"2\"><text:p>B</text:p></table:table-cell><table:covered-table-cell/></table:table-row>\
        </table:table-header-rows><table:table-row><table:table-cell table:number-columns-repeated=\"2\"><text:p>x</text:p></table:table-cell>\
        <table:table-cell><text:p>y</text:p></table:table-cell><table:table-cell table:number-columns-repeated=\"9999\"/></table:table-row></table:table>";
    let text = open_document(styles, body).unwrap();
    assert_eq!((text.title.as_deref(), text.language.as_deref()), (Some("Terms"), Some("en")));
    assert_eq!(
        text.text,
        "## Fees now\n\ndue[^1]\nalways\n\n1. a\n\n    more\n\n    - b\n2. c\n\n| A | B |  |\n| --- | --- | --- |\n| x | x | y |\n\n\
         [^1]: Monthly."
    );
}

#[test]
fn open_document_pages() {
    let styles = "<style:style style:name=\"P\" style:family=\"paragraph\"><style:paragraph-properties fo:break-before=\"page\"/></style:style>\
        <style:style style:name=\"M\" style:family=\"paragraph\" style:master-page-name=\"Standard\"/>";
    let body = "<text:p text:style-name=\"M\">one</text:p><text:p text:style-name=\"P\">two</text:p>\
        <text:soft-page-break/><text:p>three <text:soft-page-break/>four</text:p>";
    let text = open_document(styles, body).unwrap();
    assert_eq!((text.text.as_str(), text.pages), ("one\n\ntwo\n\nthree four", vec![0, 5, 10, 16]));
    let locked = zipped(&[
        ("mimetype", "application/vnd.oasis.opendocument.text"),
        ("META-INF/manifest.xml", "<manifest:encryption-data/>"),
        ("content.xml", "?"),
    ]);
    assert_eq!(odt::read(&locked, &Limits::default()), Err(Unreadable::Encrypted));
}

#[test]
fn workbooks_become_tables() {
    let book = "<workbook><sheets><sheet name=\"Fees | 2026\" r:id=\"one\"/><sheet name=\"H\" state=\"hidden\" r:id=\"two\"/></sheets></workbook>";
    let styles = "<styleSheet><numFmts><numFmt numFmtId=\"170\" formatCode=\"0.0%\"/></numFmts><cellStyleXfs><xf numFmtId=\"9\"/></cellStyleXfs>\
        <cellXfs><xf numFmtId=\"0\"/><xf numFmtId=\"14\"/><xf numFmtId=\"170\"/></cellXfs></styleSheet>";
    let strings =
        "<sst><si><t>Account</t></si><si><r><t>Giro </t></r><r><t>plus</t></r><rPh><t>x</t></rPh></si></sst>";
    let sheet = "<worksheet><sheetData><row r=\"2\"><c r=\"B2\" t=\"s\"><v>0</v></c><c r=\"C2\" t=\"inlineStr\"><is><t>From</t></is></c>\
        <c r=\"E2\" t=\"str\"><f>1</f><v>Rate</v></c></row><row r=\"9\"><c r=\"B9\" t=\"s\"><v>1</v></c><c r=\"C9\" s=\"1\"><v>46054</v></c>\
        <c r=\"E9\" s=\"2\"><v>0.025</v></c></row><row><c><v>7.50</v></c><c t=\"b\"><v>1</v></c><c t=\"e\"><v>#REF!</v></c></row></sheetData></worksheet>";
    let parts = [
        ("xl/workbook.xml", book.to_owned()),
        (
            "xl/_rels/workbook.xml.rels",
            "<Relationships><Relationship Id=\"one\" Type=\"x/worksheet\" Target=\"a.xml\"/><Relationship Id=\"two\" Type=\"x/worksheet\" Target=\"a.xml\"/>\
             <Relationship Id=\"s\" Type=\"x/styles\" Target=\"styles.xml\"/><Relationship Id=\"t\" Type=\"x/sharedStrings\" Target=\"strings.xml\"/></Relationships>"
                .to_owned(),
        ),
        ("xl/styles.xml", styles.to_owned()),
        ("xl/strings.xml", strings.to_owned()),
        ("xl/a.xml", sheet.to_owned()),
    ];
    let parts: Vec<(&str, &str)> = parts.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let text = xlsx::read(&zipped(&parts), &Limits::default()).unwrap();
    assert_eq!(
        text.text,
        "## Fees | 2026\n\n|  | Account | From | Rate |\n| --- | --- | --- | --- |\n|  | Giro plus | 2026-02-01 | 2.5 % |\n\
         | 7.5 | TRUE | #REF! |  |"
    );
    assert_eq!(text.notes.len(), 1);
}
