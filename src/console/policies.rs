//! Where administrators of the policies try questions, look at the documents, and change them.

use super::page::Page;
use axum::Router;

const HTML: &str = include_str!("policies.html");
const STYLE: &str = include_str!("policies.css");
const SCRIPT: &str = include_str!("policies.js");

pub fn router() -> Router {
    Page::new(HTML, STYLE, SCRIPT).at("/console/policies")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As much of a browser as the script needs: the answers to requests come when the test lets them.
    const BROWSER: &str = r#"
        const nodes = {};
        const node = () => ({
            value: "", checked: false, disabled: true, files: [], heard: {}, classList: { toggle() {} },
            append() {}, setAttribute() {}, replaceChildren() { this.shown = true; },
            addEventListener(name, hear) { this.heard[name] = hear; },
        });
        globalThis.Node = class {};
        globalThis.document = { getElementById: (id) => (nodes[id] ??= node()), createElement: node };
        const asked = [];
        globalThis.fetch = (path) => new Promise((answer) => asked.push({ path, answer }));
    "#;
    const RACE: &str = r#"
        const settled = () => new Promise((done) => setImmediate(done));
        const told = { concerns: [], notes: [], documents: [] };
        const answer = async (place) => {
            asked[place].answer({ ok: true, json: async () => told });
            await settled();
        };
        const form = nodes["upload-form"];
        const choose = (name) => {
            document.getElementById("file").files = [{ name }];
            form.heard.input({ target: { id: "file" } });
        };
        const preview = () => form.heard.submit({ preventDefault() {} });
        const enabled = [];
        const look = () => enabled.push(nodes.publish.disabled ? "no" : "yes");
        (async () => {
            choose("a.md"); preview(); choose("b.md"); await answer(0); look();
            preview(); preview(); await answer(1); look(); await answer(2); look();
            choose("c.md"); look();
            console.log(enabled.join(" "));
        })();
    "#;

    #[test]
    fn an_answer_about_another_file_lets_nothing_be_published() {
        let script = format!("{BROWSER}\n(() => {{ {SCRIPT} }})();\n{RACE}");
        let output = std::process::Command::new("node").args(["-e", &script]).output();
        let output = output.expect("make test installs node");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "no no yes no", "{told}");
    }

    #[test]
    fn the_page_is_whole_and_takes_texts_as_texts() {
        for (part, once) in [("/* style */", 1), ("/* script */", 1), ("http://", 0), ("https://", 0)] {
            assert_eq!(HTML.matches(part).count(), once, "{part}");
        }
        for event in [" onclick=", " onload=", " onsubmit=", " onchange=", " style=", " src=", "javascript:"]
        {
            assert!(!HTML.contains(event), "{event}");
        }
        for way in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "localStorage"]
        {
            assert!(!SCRIPT.contains(way), "{way}");
        }
        assert!(!SCRIPT.contains("</script") && !STYLE.contains("</style") && !STYLE.contains("url("));
    }
}
