"""The page in a real Chromium: on screens, phones and paper, with a keyboard alone, and without a network."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from machine import thorough

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from playwright.sync_api import Page
    from reading import Opened

    Reading = Callable[..., AbstractContextManager[Opened]]

WIDTHS = (1280, 390)
VIEWS = [
    ("dark", 390),
    pytest.param("light", 1280, marks=thorough),
    pytest.param("light", 390, marks=thorough),
    pytest.param("dark", 1280, marks=thorough),
]


def shown_rows(page: Page) -> list[str]:
    """Return the targets of the rows of the comparison that are visible, in order."""
    heads = page.locator("#compare tbody tr:visible th")
    return [text.strip().split("\n")[0].strip() for text in heads.all_inner_texts()]


@pytest.mark.parametrize(("scheme", "width"), VIEWS)
def test_no_serious_fault_of_accessibility(reading: Reading, scheme: str, width: int) -> None:
    with reading(width=width, color_scheme=scheme, reduced_motion="reduce") as opened:
        opened.page.evaluate("for (const folded of document.querySelectorAll('details')) folded.open = true")
        found = Axe().run(opened.page).response
    assert len(found["passes"]) > 20
    grave = [fault for fault in found["violations"] if fault["impact"] in ("serious", "critical")]
    violations = [(fault["id"], fault["help"], [node["html"][:160] for node in fault["nodes"][:3]]) for fault in grave]
    assert violations == []


@pytest.mark.parametrize(("scheme", "width"), VIEWS)
def test_the_page_requests_nothing_logs_nothing_and_fits(
    reading: Reading, report: Path, scheme: str, width: int
) -> None:
    with reading(width=width, color_scheme=scheme) as opened:
        opened.page.wait_for_load_state("networkidle")
        assert opened.logged == []
        assert [url for url in opened.requests if not url.startswith("data:")] == [report.as_uri()]
        assert opened.page.evaluate("document.documentElement.scrollWidth") == width
        opened.page.evaluate("for (const folded of document.querySelectorAll('details')) folded.open = true")
        assert opened.page.evaluate("document.documentElement.scrollWidth") == width


def test_no_label_leaves_its_figure(reading: Reading) -> None:
    # text may be slightly wider than its layout box
    script = """() => [...document.querySelectorAll('figure svg')].filter(svg => svg.checkVisibility()).flatMap(svg => {
        const frame = svg.getBoundingClientRect();
        return [...svg.querySelectorAll('text')].filter(text => {
            const box = text.getBoundingClientRect();
            return box.left < frame.left - 6 || box.right > frame.right + 6;
        }).map(text => text.textContent);
    })"""
    for width in WIDTHS:
        with reading(width=width) as opened:
            assert opened.page.evaluate(script) == []


def test_the_first_screen_has_the_answer(reading: Reading) -> None:
    with reading(width=1280) as opened:
        box = opened.page.locator("#board tbody tr").first.bounding_box()
        assert opened.page.locator("h1").is_visible()
        assert box is not None
        assert box["y"] + box["height"] < 900


def test_tables_sort_by_the_keyboard_alone(reading: Reading) -> None:
    with reading() as opened:
        page = opened.page
        head = page.locator("#compare thead th", has_text="Peak memory")
        planned = shown_rows(page)
        head.locator("button").focus()
        page.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == "ascending"
        place = page.evaluate("() => [...document.querySelectorAll('#compare thead th')].findIndex(h => h.ariaSort)")
        keys = f"#compare tbody tr > :nth-child({place + 1})"
        read = f"() => [...document.querySelectorAll('{keys}')].map(c => c.dataset.key ?? null)"
        upwards = page.evaluate(read)
        known = [float(key) for key in upwards if key is not None]
        assert known == sorted(known)
        assert len(known) > 8
        assert upwards[len(known) :] == [None] * (len(upwards) - len(known))
        page.keyboard.press("Space")
        assert head.get_attribute("aria-sort") == "descending"
        assert page.evaluate(read) == [*(f"{key}" for key in reversed_ties(upwards, known)), *upwards[len(known) :]]
        page.locator("#compare thead th button").first.press("Enter")
        assert head.get_attribute("aria-sort") is None
        assert sorted(planned) == shown_rows(page)


def reversed_ties(texts: list[str], known: list[float]) -> list[str]:
    """Return the keys in descending order; equal keys look the same in any order."""
    return [text for _, text in sorted(zip(known, texts, strict=False), key=lambda entry: -entry[0])]


def test_the_comparison_filters_by_the_keyboard_alone(reading: Reading) -> None:
    with reading() as opened:
        page = opened.page
        every = shown_rows(page)
        output = page.locator(".filters output")
        page.locator(".filters input").focus()
        page.keyboard.type("rust cold")
        rust = shown_rows(page)
        assert rust
        assert all("rust" in row for row in rust)
        assert output.inner_text() == f"{len(rust)} of {len(every)} rows"
        page.keyboard.press("Control+A")
        page.keyboard.press("Delete")
        page.locator(".filters select[name=target]").focus()
        page.keyboard.type("torch")
        assert set(shown_rows(page)) == {"torch"}
        page.locator(".filters select[name=profile]").focus()
        page.keyboard.type("cold")
        assert len(shown_rows(page)) == 2
        page.get_by_role("button", name="Clear").press("Enter")
        expect(output).to_have_text(f"{len(every)} rows")
        assert shown_rows(page) == every


def test_the_filter_finds_names_and_clear_restores_the_order(reading: Reading) -> None:
    with reading() as opened:
        page = opened.page
        planned = page.locator("#compare tbody tr").evaluate_all("rows => rows.map(row => row.dataset.case)")
        page.locator(".filters input").fill("faster")
        assert shown_rows(page) == []
        expect(page.locator(".filters output")).to_have_text("no rows")
        page.locator(".filters input").fill(planned[3])
        assert len(shown_rows(page)) == 1
        head = page.locator("#compare thead th", has_text="Peak memory")
        head.locator("button").click()
        page.get_by_role("button", name="Clear").click()
        read = "rows => rows.map(row => row.dataset.case)"
        assert page.locator("#compare tbody tr").evaluate_all(read) == planned
        assert head.get_attribute("aria-sort") is None


def test_text_sorts_by_the_numbers_in_it(reading: Reading) -> None:
    with reading() as opened:
        assert opened.page.evaluate("compare('batch 4', 'batch 16')") < 0


def test_a_scrolled_table_on_a_phone_still_shows_row_headers(reading: Reading) -> None:
    with reading(width=390) as opened:
        page = opened.page
        first = page.locator("#compare tbody th").first
        before = [first.bounding_box(), page.locator("#compare thead th").first.bounding_box()]
        page.locator("#compare").evaluate("table => table.parentElement.scrollLeft = 300")
        after = [first.bounding_box(), page.locator("#compare thead th").first.bounding_box()]
        assert [box["x"] for box in after if box] == pytest.approx([box["x"] for box in before if box], abs=2)
        assert first.locator(".also").is_visible()
        assert "default" in first.locator(".also").inner_text()
        board = page.locator("#board tbody th").first.bounding_box()
        assert board is not None
        assert board["width"] < 180
        for link in page.locator(".files a:visible").all():
            box = link.bounding_box()
            assert box is not None
            assert min(box["width"], box["height"]) >= 24
    with reading() as opened:
        assert not opened.page.locator("#compare .also").first.is_visible()


def test_without_scripts_it_is_complete(reading: Reading) -> None:
    with reading(java_script_enabled=False) as opened:
        page = opened.page
        assert not page.locator(".filters").is_visible()
        assert page.locator("#compare tbody tr").count() > 8
        assert page.locator("#compare thead button").count() == 0


def test_the_skip_link_comes_first_and_leads_to_the_answer(reading: Reading) -> None:
    with reading() as opened:
        page = opened.page
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the answer"
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
        assert float(outline.removesuffix("px")) >= 2
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "answer"


def test_phones_get_separate_figures(reading: Reading) -> None:
    for width, seen, unseen in ((1280, "wide", "narrow"), (390, "narrow", "wide")):
        with reading(width=width) as opened:
            figure = opened.page.locator("#life figure").first
            assert figure.locator(f".{seen}").is_visible()
            assert not figure.locator(f".{unseen}").is_visible()


def test_every_figure_has_a_name_and_a_description(reading: Reading) -> None:
    with reading() as opened:
        for drawing in opened.page.locator("figure svg").all():
            assert drawing.get_attribute("role") == "img"
            assert drawing.locator("title").first.text_content()
            assert len(drawing.locator("desc").first.text_content() or "") > 40


def test_every_link_resolves_and_ids_are_unique(reading: Reading, report: Path) -> None:
    with reading() as opened:
        page = opened.page
        links = [link.get_attribute("href") or "" for link in page.locator("a").all()]
        ids: list[str] = page.evaluate("[...document.querySelectorAll('[id]')].map(one => one.id)")
    assert len(ids) == len(set(ids))
    assert [link for link in links if link.startswith("#") and link[1:] not in ids] == []
    files = [unquote(link) for link in links if not link.startswith("#")]
    assert "raw/net.classify.torch.life.jsonl" in files
    assert [file for file in files if not (report.parent / file).is_file()] == []


def test_paper_is_light_and_has_all_figures(reading: Reading) -> None:
    with reading(color_scheme="dark") as opened:
        page = opened.page
        page.emulate_media(media="print", color_scheme="dark")
        # a header with buttons would be on the first page only
        button = page.locator("#compare thead button").first
        assert button.evaluate("one => getComputedStyle(one).display") == "contents"
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert not page.locator("nav").is_visible()
        page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        figures = page.locator("figure .wide")
        assert figures.count() > 4
        assert all(figure.is_visible() for figure in figures.all())
        assert not page.locator("td details, details.data").first.is_visible()
        page.evaluate("window.dispatchEvent(new Event('afterprint'))")
        assert page.locator("details:not([open])").count() > 0
        assert page.pdf().startswith(b"%PDF")


def test_nothing_moves_with_reduced_motion(reading: Reading) -> None:
    for wish, expected in (("reduce", "auto"), ("no-preference", "smooth")):
        with reading(reduced_motion=wish) as opened:
            script = "getComputedStyle(document.documentElement).scrollBehavior"
            assert opened.page.evaluate(script) == expected
