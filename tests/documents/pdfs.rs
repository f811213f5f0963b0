//! PDFs whose structure is made to break a reader.

use super::made::{deflated, pages, pdf, stream};

type File = (String, Vec<u8>);

const CATALOGUE: &[u8] = b"<</Type/Catalog/Pages 2 0 R>>";
const ONE: &[u8] = b"<</Type/Pages/Count 1/Kids[3 0 R]>>";
const PAGE: &[u8] = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R>>";

fn of(objects: &[&[u8]]) -> Vec<u8> {
    pdf(&objects.iter().map(|object| object.to_vec()).collect::<Vec<_>>(), "")
}

pub fn hostile() -> Vec<File> {
    let mut files = Vec::new();
    structure(&mut files);
    streams(&mut files);
    contents(&mut files);
    locked(&mut files);
    files.into_iter().map(|(name, bytes)| (format!("{name}.pdf"), bytes)).collect()
}

fn structure(files: &mut Vec<(&str, Vec<u8>)>) {
    let mut add = |name, bytes| files.push((name, bytes));
    for (name, open, close, count) in [
        ("arrays", "[", "]", 10_000),
        ("more-arrays", "[", "]", 1_000_000),
        ("dictionaries", "<</A ", ">>", 10_000),
        ("open-arrays", "[", "", 1_000_000),
    ] {
        let nested = format!("{}{}", open.repeat(count), close.repeat(count));
        let page = format!("<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R/Resources {nested}>>");
        add(name, of(&[CATALOGUE, ONE, page.as_bytes(), &stream("", b"")]));
    }
    add("tree-loop", of(&[CATALOGUE, b"<</Type/Pages/Count 1/Kids[2 0 R]>>"]));
    add(
        "tree-pair",
        of(&[
            CATALOGUE,
            b"<</Type/Pages/Count 9/Kids[3 0 R 3 0 R]>>",
            b"<</Type/Pages/Count 9/Kids[2 0 R 2 0 R]/Parent 2 0 R>>",
        ]),
    );
    add(
        "parent-loop",
        of(&[CATALOGUE, ONE, b"<</Type/Page/Parent 3 0 R/Contents 4 0 R>>", &stream("", b"")]),
    );
    let wide = format!("<</Type/Pages/Count 100000/Kids[{}]>>", "3 0 R ".repeat(100_000));
    add("one-page-often", of(&[CATALOGUE, wide.as_bytes(), PAGE, &stream("", b"")]));
    // Each level names the next twice: two to the power of forty pages.
    let mut doubling = vec![CATALOGUE.to_vec()];
    for level in 2..42 {
        let next = level + 1;
        doubling.push(format!("<</Type/Pages/Count 99/Kids[{next} 0 R {next} 0 R]>>").into_bytes());
    }
    doubling.push(b"<</Type/Page/MediaBox[0 0 9 9]>>".to_vec());
    add("doubling", pdf(&doubling, ""));
    add("count", of(&[CATALOGUE, b"<</Type/Pages/Count 2147483647/Kids[]>>"]));
    add(
        "negative",
        of(&[
            CATALOGUE,
            b"<</Type/Pages/Count -1/Kids[3 0 R]>>",
            b"<</Type/Page/MediaBox[-9e99 0 9e99 1e309]/Rotate 45>>",
        ]),
    );
    add("no-root", of(&[b"null"]));
    add("root-loop", pdf(&[b"1 0 R".to_vec()], ""));
    add("previous-loop", pdf(&[CATALOGUE.to_vec(), ONE.to_vec()], "/Prev 9"));
    let mut itself = of(&[CATALOGUE, ONE, PAGE]);
    let at = itself.windows(4).rposition(|four| four == b"xref").unwrap();
    let text = format!("trailer\n<</Root 1 0 R/Prev {at}/XRefStm {at}>>\nstartxref\n{at}\n%%EOF");
    itself.extend(text.bytes());
    add("previous-itself", itself);
    add("only-head", b"%PDF-1.7\n".to_vec());
    add("start-far", b"%PDF-1.7\nstartxref\n99999999999999999999\n%%EOF".to_vec());
    add("marks", b"%PDF-1.7\n".iter().copied().chain(b"1 0 obj ".repeat(100_000)).collect());
}

fn streams(files: &mut Vec<(&str, Vec<u8>)>) {
    let mut add = |name, bytes| files.push((name, bytes));
    let with = |content: &[u8]| of(&[CATALOGUE, ONE, PAGE, content]);
    add("length-huge", with(b"<</Length 500000000>>\nstream\nBT ET\nendstream"));
    add("length-negative", with(b"<</Length -5>>\nstream\nBT ET\nendstream"));
    add("length-itself", with(b"<</Length 4 0 R>>\nstream\nBT ET\nendstream"));
    add("inflating", with(&stream("/Filter/FlateDecode", &deflated(&vec![b' '; 400 << 20]))));
    let twice = deflated(&deflated(&vec![b'q'; 300 << 20]));
    add("inflating-twice", with(&stream("/Filter[/FlateDecode/FlateDecode]", &twice)));
    let filters = format!("/Filter[{}]", "/FlateDecode".repeat(10_000));
    add("filters", with(&stream(&filters, b"x")));
    add(
        "predictor",
        with(&stream(
            "/Filter/FlateDecode/DecodeParms<</Predictor 15/Columns 2147483647/Colors 99/BitsPerComponent 32>>",
            &deflated(b"abc"),
        )),
    );
    add("lzw", with(&stream("/Filter/LZWDecode", &[0x80; 100_000])));
    add("run-length", with(&stream("/Filter/RunLengthDecode", &[129, b' '].repeat(2_000_000))));
    add("ascii85", with(&stream("/Filter/ASCII85Decode", &[b'z'; 4_000_000])));
    // A stream of objects that lies in itself, and one that extends itself.
    let within = "/Type/ObjStm/N 1/First 4/Extends 5 0 R";
    let table = stream(
        "/Type/XRef/Size 6/W[1 2 1]/Root 1 0 R",
        &[0, 0, 0, 0, 2, 0, 5, 0, 2, 0, 5, 0, 2, 0, 5, 0, 2, 0, 5, 0, 2, 0, 5, 0],
    );
    let mut looped = b"%PDF-1.7\n5 0 obj\n".to_vec();
    looped.extend(stream(within, b"5 0 <</A 5 0 R>>"));
    looped.extend(b"\nendobj\n");
    let at = looped.len();
    looped.extend(b"6 0 obj\n");
    looped.extend(&table);
    looped.extend(format!("\nendobj\nstartxref\n{at}\n%%EOF").bytes());
    add("object-stream-loop", looped);
    let count = stream("/Type/ObjStm/N 2000000000/First 4", b"1 0 null");
    add("object-stream-count", of(&[CATALOGUE, ONE, PAGE, &count]));
}

fn contents(files: &mut Vec<(&str, Vec<u8>)>) {
    let mut add = |name, bytes| files.push((name, bytes));
    let form = |content: &[u8]| {
        stream("/Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</X 4 0 R>>>>", content)
    };
    add("form-loop", pages(&[b"/X Do".to_vec()], &[form(b"/X Do")]));
    add("form-doubling", pages(&[b"/X Do ".repeat(20)], &[form(&b"/X Do ".repeat(20))]));
    add("states", pages(&[b"q ".repeat(1_000_000)], &[b"null".to_vec()]));
    add("unbalanced", pages(&[b"Q ET ] >> EMC ".repeat(100_000)], &[b"null".to_vec()]));
    add("nested-content", pages(&[b"[".repeat(500_000)], &[b"null".to_vec()]));
    let text =
        b"BT /F 12 Tf 72 700 Td ".iter().copied().chain(b"(Fee) Tj ".repeat(500_000)).chain(*b"ET").collect();
    add("much-text", pages(&[text], &[b"null".to_vec()]));
    let far = b"BT /F 1e30 Tf 1e300 0 0 -1e300 9e99 9e99 Tm (Fee) Tj 0 0 0 0 0 0 Tm (Fee) Tj ET".to_vec();
    add("far", pages(&[far], &[b"null".to_vec()]));
    let everywhere: String = (0..40_000)
        .map(|n| format!("BT /F 9 Tf 1 0 0 1 {} {} Tm (a b) Tj ET ", n * 37 % 595, n * 91 % 842))
        .collect();
    add("everywhere", pages(&[everywhere.into_bytes()], &[b"null".to_vec()]));
    for (name, picture) in [
        ("picture-huge", "/Width 50000/Height 50000/BitsPerComponent 8/ColorSpace/DeviceRGB"),
        ("picture-negative", "/Width -1/Height 2147483647/BitsPerComponent 16/ColorSpace/DeviceCMYK"),
        ("picture-jpeg", "/Width 9/Height 9/BitsPerComponent 8/ColorSpace/DeviceRGB/Filter/DCTDecode"),
        ("picture-jpx", "/Width 9/Height 9/Filter/JPXDecode"),
        ("picture-jbig2", "/Width 60000/Height 60000/BitsPerComponent 1/Filter/JBIG2Decode"),
        (
            "picture-fax",
            "/Width 60000/Height 60000/BitsPerComponent 1/Filter/CCITTFaxDecode/DecodeParms<</K -1/Columns 60000/Rows 60000>>",
        ),
    ] {
        let picture = stream(&format!("/Type/XObject/Subtype/Image{picture}"), &[0x5a; 3000]);
        add(name, pages(&[b"q 595 0 0 842 0 0 cm /X Do Q".to_vec()], &[picture]));
    }
}

fn locked(files: &mut Vec<(&str, Vec<u8>)>) {
    let objects = [CATALOGUE.to_vec(), ONE.to_vec(), PAGE.to_vec(), stream("", b"\x01\x02")];
    let id = "/ID[<00112233445566778899aabbccddeeff><00112233445566778899aabbccddeeff>]";
    let user = "5a".repeat(32);
    let entry = |kind: &str| format!("{id}/Encrypt<</Filter/Standard{kind}/O<{user}>/U<{user}>/P -4>>");
    files.push(("locked-40", pdf(&objects, &entry("/V 1/R 2/Length 40"))));
    files.push(("locked-128", pdf(&objects, &entry("/V 2/R 3/Length 128"))));
    let aes = "/V 5/R 6/Length 256/CF<</StdCF<</CFM/AESV3/Length 32>>>>/StmF/StdCF/StrF/StdCF";
    let long = "5a".repeat(48);
    let entry = format!(
        "{id}/Encrypt<</Filter/Standard{aes}/O<{long}>/U<{long}>/OE<{user}>/UE<{user}>/Perms<5a5a>/P -4>>"
    );
    files.push(("locked-256", pdf(&objects, &entry)));
    files.push(("locked-strange", pdf(&objects, &format!("{id}/Encrypt<</Filter/Own/V 9/R 99>>"))));
    files.push(("locked-loop", pdf(&objects, &format!("{id}/Encrypt 1 0 R"))));
}
