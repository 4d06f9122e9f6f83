// Abbreviations, acronyms and file names.
#include <span>

#include "readback/text/ptb_scanner.h"

namespace readback::text {
namespace {

// A letter matches without regard to case; a letter after '=' only itself.

// Normally before a word in lower case; before another one they end the sentence.
constexpr std::string_view kMidSentence[] = {
    "jan",  "feb",     "mar",  "apr",  "jun",   "jul",   "aug",   "sep",   "sept",   "oct",    "nov",  "dec",
    "mon",  "tue",     "tues", "wed",  "thu",   "thurs", "fri",   "ala",   "ariz",   "=Az",    "=Ark", "calif",
    "colo", "conn",    "ct",   "dak",  "=Del",  "fla",   "ga",    "=Ill",  "ind",    "kan",    "kans", "ky",
    "=La",  "=Mass",   "md",   "mich", "minn",  "=Miss", "mo",    "mont",  "neb",    "nev",    "okla", "=Ore",
    "=Pa",  "penn",    "tenn", "=Tex", "va",    "vt",    "=Wash", "wis",   "wisc",   "wyo",    "inc",  "co",
    "cos",  "corp",    "pt=y", "pt=e", "ppt=y", "ppt=e", "pt=ys", "pt=es", "ppt=ys", "ppt=es", "ltd",  "plc",
    "rt",   "bancorp", "bhd",  "assn", "univ",  "intl",  "sys",   "tel",   "est",    "ext",    "sq",   "jr",
    "sr",   "bros",    "ed.d", "ph.d", "blvd",  "rd",    "esq",   "etc",   "al",     "seq",    "bldg"};

// Before a word in upper case, mostly; never at the end of a sentence.
constexpr std::string_view kTitles[] = {
    "mr",  "mrs", "ms",    "=Miss",  "dr",    "drs",  "prof", "profs", "sen",  "sens", "rep",  "reps",  "atty", "attys",
    "lt",  "col", "gen",   "messrs", "gov",   "govs", "adm",  "rev",   "maj",  "sgt",  "cpl",  "pvt",   "capt", "st",
    "ste", "ave", "pres",  "lieut",  "hon",   "brig", "cmdr", "comdr", "pfc",  "spc",  "supt", "supts", "det",  "mt",
    "ft",  "adj", "adv",   "asst",   "assoc", "ens",  "insp", "mlle",  "mme",  "msgr", "sfc",  "vs",    "alex", "wm",
    "jos", "cie", "a.k.a", "cf",     "treas", "ph",   "invt", "elec",  "natl", "m=fg", "m=tg", "dept"};

constexpr std::string_view kBeforeNumbers[] = {"ca", "fig", "figs", "prop", "no", "nos", "art", "bldg", "pp", "op"};

// What shows, in capitals, that an acronym before it ended a sentence.
constexpr std::string_view kSentenceStarts[] = {
    "=About", "=According", "=Additionally", "=After",   "=An",    "=A",     "=As",    "=At",    "=But",   "=Earlier",
    "=He",    "=Her",       "=Here",         "=However", "=If",    "=In",    "=It",    "=Last",  "=Many",  "=More",
    "=Mr.",   "=Ms.",       "=Now",          "=Once",    "=One",   "=Other", "=Our",   "=She",   "=Since", "=So",
    "=Some",  "=Such",      "=That",         "=The",     "=Their", "=Then",  "=There", "=These", "=They",  "=This",
    "=We",    "=When",      "=While",        "=What",    "=Yet",   "=You"};

constexpr std::string_view kFileTypes[] = {"bat", "bmp", "c",   "class", "cgi", "cpp",  "dll", "doc",  "docx",
                                           "exe", "gif", "gz",  "h",     "htm", "html", "jar", "java", "jpeg",
                                           "jpg", "mov", "mp3", "pdf",   "php", "pl",   "png", "ppt",  "ps",
                                           "py",  "sql", "tar", "txt",   "wav", "x",    "xml", "zip"};

}  // namespace

size_t PtbScanner::entry(size_t at, std::string_view pattern) const {
  size_t end = at;
  for (size_t i = 0; i < pattern.size(); ++i, ++end) {
    const bool exact = pattern[i] == '=';
    if (exact ? !is_char(end, static_cast<char16_t>(pattern[++i])) : !literal(end, pattern.substr(i, 1))) return 0;
  }
  return end - at;
}

void PtbScanner::offer_abbreviations() {
  const size_t letters = run(begin_, kPtbLetter);
  if (letters == begin_ || !is_any(letters, u".-")) return;
  const auto dotted = [&](std::string_view pattern) {
    const size_t length = entry(begin_, pattern);
    return length && is_char(begin_ + length, '.') ? length + 1 : 0;
  };
  for (const std::string_view pattern : kMidSentence) {
    const size_t length = dotted(pattern);
    if (length == 0) continue;
    offer(PtbRule::kAbbreviationAtTextEnd, length);
    if (begin_ + length + 2 <= text_.size()) offer(PtbRule::kAbbreviation, length, 2);
  }
  for (const std::string_view pattern : kTitles) offer(PtbRule::kTitle, dotted(pattern));
  for (const std::string_view pattern : kBeforeNumbers) {
    const size_t length = dotted(pattern);
    if (length == 0) continue;
    for (const size_t space : {size_t{0}, blank(begin_ + length)}) {
      if (is(begin_ + length + space, kPtbDigit)) offer(PtbRule::kAbbreviationBeforeNumber, length, space + 1);
    }
  }
  for (const std::string_view pattern : {"pt=e", "pt=y", "pt=E", "pt=Y", "co"}) {
    const size_t length = dotted(pattern), name = begin_ + length + 1;
    if (length && is(name - 1, kPtbSpace) && (literal(name, "ltd") || literal(name, "lim"))) {
      offer(PtbRule::kCompanyBeforeLimited, length, 4);
    }
  }
  offer_acronyms();
}

void PtbScanner::offer_acronyms() {
  const auto offer_acronym = [&](size_t end) {
    if (end == begin_) return;
    if (const size_t space = blank(end)) offer(PtbRule::kAcronym, end - begin_, space);
    if (is_char(end, '.')) offer(PtbRule::kTitle, end + 1 - begin_);
  };
  size_t end = begin_;
  if (is(end, kPtbAsciiLetter)) {
    ++end;
    while (is_char(end, '.') && is(end + 1, kPtbAsciiLetter)) end += 2;
  }
  offer_acronym(end);
  if (end == begin_ + 1 && is_char(end, '.')) offer_letter_at_sentence_end();
  for (const std::string_view pattern :
       {"canada-u.s", "sino-u.s", "korean-u.s", "eu-u.s", "japan-u.s", "non-u.s", "u.s.-u.k", "u.s.-u.s.s.r"}) {
    offer_acronym(begin_ + literal(begin_, pattern));
  }
}

// "plan B. The …": the stop is no part of the token. Longer acronyms keep theirs there, as everywhere.
void PtbScanner::offer_letter_at_sentence_end() {
  const size_t stop = begin_ + 1, start = run(stop + 1, kPtbBlank);
  if (start == stop + 1) return;
  const auto offer_before = [&](size_t word) {
    const size_t space = word ? blank(start + word) : 0;
    if (space) offer(PtbRule::kLetterAtSentenceEnd, 1, start + word + space - stop);
  };
  for (const std::string_view pattern : kSentenceStarts) offer_before(entry(start, pattern));
  offer_before(tag(start));
}

void PtbScanner::offer_file_name() {
  const auto segment_end = [&](size_t at) {
    for (size_t letter; (letter = is(at, kPtbDigit) ? 1 : word_letter(at)) != 0;) at += letter;
    return at;
  };
  size_t end = segment_end(begin_);
  if (end == begin_) return;
  while (is_char(end, '.')) {
    const size_t segment = end + 1;
    end = segment_end(segment);
    if (end == segment) return;
    for (const std::string_view type : kFileTypes) {
      if (segment + type.size() != end || !literal(segment, type)) continue;
      const size_t following = is_any(end, u".?!,") ? 1 : blank(end);
      if (following) offer(PtbRule::kFileName, end - begin_, following);
    }
  }
}

}  // namespace readback::text
