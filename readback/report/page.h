// The page of a run: its sections from top to bottom, each in the file of its name; the opening, what sections share
// and the list of contents are in page.cpp. The page of a training is training.cpp.
#pragma once
#include <string>

#include "readback/report/html.h"
#include "readback/report/report.h"

namespace readback::report {

std::string style();  // CSS
// A whole HTML document that refers to nothing outside itself.
std::string document(const std::string& title, const Markup& body);
std::string script();  // what the page can do without: names under the pointer, everything open in print

Markup opening(const ReportData& data);    // title, what this is, one trip each way
Markup headlines(const ReportData& data);  // the figures that matter
Markup gallery(const Way& way, const ReportData& data);
Markup curves(const ReportData& data);
Markup scores(const ReportData& data);
Markup errors(const ReportData& data);       // nothing when there are none
Markup particulars(const ReportData& data);  // how to make this page again

// Words for the two ways: "Picture → words → picture".
std::string title(roundtrip::Direction direction);
const char* middle(roundtrip::Direction direction);  // "caption", "picture"
const char* end(roundtrip::Direction direction);     // "picture", "caption"

// Whether the nearest trips had the better middle.
enum class Verdict { kYes, kNo, kOpen };
Verdict verdict(const roundtrip::RankCurve& curve);

// The text at a key of the manifest's parts, where there is one.
std::string text_of(const nlohmann::json& object, const char* key, const std::string& otherwise);

Markup section(const std::string& id, const Markup& heading, const Markup& lead, const Markup& body);
// A table that scrolls sideways where the page is narrow; `label` is its name for those who do not see it.
Markup scrolling(const std::string& label, const Markup& table);
Markup column(const char* name, bool numeric = true);  // a column's head
Markup interval(const score::Interval& interval);      // "0.912 to 0.945"
const char* arrow(const score::MetricInfo& metric);    // ↑ or ↓: where better is
Markup picture(const Picture& picture, const std::string& alt);
Markup quote(const std::string& text);     // a caption, or a dash for an empty one
Markup mark(std::optional<double> truth);  // ✓, or how much was right
Markup pie(double share);                  // the same, tiny

}  // namespace readback::report
