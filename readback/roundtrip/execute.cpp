#include "readback/roundtrip/execute.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <iterator>
#include <map>
#include <optional>
#include <set>

#include "readback/base/error.h"
#include "readback/base/halving.h"
#include "readback/base/stopwatch.h"
#include "readback/roundtrip/recording.h"

namespace readback::roundtrip {

namespace {

// One candidate on its way.
struct Unit {
  const data::Sample* sample = nullptr;
  CandidateRow row;
};
using Units = std::vector<Unit*>;

class Executor {
 public:
  Executor(const Plan& plan, const data::Dataset& dataset, caption::Captioner& captioner,
           generate::Generator& generator, Store& store, const Context& context)
      : plan_(plan),
        dataset_(dataset),
        captioner_(captioner),
        generator_(generator),
        store_(store),
        context_(context),
        recorder_(store, plan.options.max_errors),
        captions_repeat_(captioner.capabilities().honours_seeds),
        pictures_repeat_(generator.capabilities().honours_seeds) {
    sampling_ = plan.options.sampling;
    sampling_.num_captions = plan.options.num_candidates;
    reading_ = plan.options.reading;
    reading_.num_captions = 1;
    generation_ = plan.options.generation;
    sampling_.seed = reading_.seed = generation_.seed = plan.options.seed;
  }

  Summary run() {
    const Stopwatch clock;
    std::vector<SampleRow> rows;
    for (const data::Sample& sample : plan_.samples) {
      rows.push_back(
          {sample.id, static_cast<int64_t>(rows.size()), "", sample.references, sample.truth, sample.domain});
    }
    store_.add_samples(rows);
    store_.clear_errors();
    stored_ = store_.samples();

    Summary summary;
    summary.units = plan_.units();
    for (Direction direction : plan_.options.directions) summary.done_before += store_.count_complete(direction);
    context_.progress().begin("round trips", summary.units);
    for (const Group& group : plan_.groups) run_group(group);
    context_.progress().end();

    for (Direction direction : plan_.options.directions) {
      summary.truncated_prompts += store_.count_truncated(direction);
      summary.flagged_images += std::ssize(store_.flagged(direction));
    }
    summary.failed_samples = recorder_.failed_samples();
    summary.seconds = clock.seconds();
    return summary;
  }

 private:
  void run_group(const Group& group) {
    context_.check();
    originals_.clear();
    for (int64_t i = group.first; i < group.last; ++i) keep_original(i);
    for (Direction direction : plan_.options.directions) {
      std::vector<Unit> units = stored_units(group, direction);
      const int64_t all = std::ssize(units);
      const auto done =
          static_cast<int64_t>(std::ranges::count_if(units, [](const Unit& u) { return u.row.complete(); }));
      std::erase_if(units, [&](const Unit& unit) { return unreadable_.contains(unit.sample); });
      context_.progress().advance(done);
      if (done == all) continue;
      if (direction == Direction::kI2T2I) {
        image_text_image(group, units);
      } else {
        text_image_text(group, units);
      }
      context_.progress().advance(all - done);
    }
  }

  // The group's candidates as far as they got, all of them: batches are cut by the plan, so that a resumed run computes
  // the batches of an undisturbed one, to the last bit.
  std::vector<Unit> stored_units(const Group& group, Direction direction) const {
    std::vector<Unit> units;
    for (int64_t i = group.first; i < group.last; ++i) {
      const data::Sample& sample = plan_.samples[static_cast<size_t>(i)];
      const auto first = static_cast<std::ptrdiff_t>(units.size());
      for (int64_t k = 0; k < plan_.options.num_candidates; ++k) {
        Unit unit{&sample, {}};
        unit.row.key = {direction, sample.id, k};
        units.push_back(std::move(unit));
      }
      for (CandidateRow& row : store_.candidates(direction, sample.id)) {
        if (row.key.candidate < 0 || row.key.candidate >= plan_.options.num_candidates) {
          throw StoreError(
              describe(store_.folder().string(), fmt::format("candidates 0 to {}", plan_.options.num_candidates - 1),
                       fmt::format("candidate {} of {}", row.key.candidate, sample.id), "The run is damaged"));
        }
        if (row.image && !store_.has_image(*row.image)) row.image.reset();
        units[static_cast<size_t>(first + row.key.candidate)].row = std::move(row);
      }
    }
    return units;
  }

  // Copies the original into the run folder and keeps it in memory. Null where it cannot be read, which is recorded
  // once.
  const image::Image* original(int64_t index) {
    const data::Sample& sample = plan_.samples[static_cast<size_t>(index)];
    if (const auto found = originals_.find(&sample); found != originals_.end()) return &found->second;
    if (unreadable_.contains(&sample)) return nullptr;
    SampleRow& row = stored_[static_cast<size_t>(index)];
    if (!row.image.empty() && !store_.has_image(row.image)) row.image.clear();
    const bool loaded = recorder_.attempt({sample.id, {}, -1, "original", ""}, [&] {
      image::Image image = row.image.empty() ? dataset_.load_image(index) : store_.load_image(row.image);
      if (row.image.empty()) row.image = store_.set_original(sample.id, image);
      originals_[&sample] = std::move(image);
    });
    if (!loaded) unreadable_.insert(&sample);
    return loaded ? &originals_.at(&sample) : nullptr;
  }

  // The original is in the run folder whatever the directions are: metrics and pages show it. A sample without one has
  // failed in both.
  void keep_original(int64_t index) {
    if (!plan_.samples[static_cast<size_t>(index)].has_image()) return;
    const SampleRow& row = stored_[static_cast<size_t>(index)];
    if (row.image.empty() || !store_.has_image(row.image)) original(index);
  }

  int64_t index_of(const Unit& unit) const { return unit.sample - plan_.samples.data(); }

  void image_text_image(const Group& group, std::vector<Unit>& units) {
    std::erase_if(units, [&](const Unit& unit) {
      if (unit.sample->has_image()) return false;
      if (unit.row.key.candidate == 0) {
        recorder_.record({unit.sample->id, Direction::kI2T2I, -1, "image", "the sample has no image to begin with"});
      }
      return true;
    });
    // All candidates of a sample come from one request.
    std::vector<std::span<Unit>> samples;
    const auto candidates = static_cast<size_t>(plan_.options.num_candidates);
    for (size_t first = 0; first < units.size(); first += candidates) {
      samples.push_back(std::span(units).subspan(first, candidates));
    }
    const auto lacks_text = [](std::span<const Unit> sample) {
      return std::ranges::any_of(sample, [](const Unit& unit) { return !unit.row.text; });
    };
    if (std::ranges::any_of(samples, lacks_text)) {
      std::erase_if(samples, [&](std::span<Unit> sample) {
        return (!captions_repeat_ && !lacks_text(sample)) || original(index_of(sample.front())) == nullptr;
      });
      caption_samples(samples);
    }
    for_each_slice(group, units, [&](const Units& slice) {
      draw(
          slice, [](const Unit& unit) { return *unit.row.text; },
          [](const Unit& unit) { return unit.row.text.has_value(); });
    });
  }

  void text_image_text(const Group& group, std::vector<Unit>& units) {
    for (const Unit& unit : units) {
      if (unit.sample->references.empty() && unit.row.key.candidate == 0) {
        recorder_.record({unit.sample->id, Direction::kT2I2T, -1, "text", "the sample has no text to begin with"});
      }
    }
    for_each_slice(group, units, [&](const Units& slice) {
      draw(
          slice, [](const Unit& unit) { return unit.sample->references.front(); },
          [](const Unit& unit) { return !unit.sample->references.empty(); });
    });
    // Not slice by slice: the models may be in memory in turn.
    for_each_slice(group, units, [&](const Units& slice) { read(slice); });
  }

  // Slices of at most batch_size units for each process, cut at fixed places of the group.
  void for_each_slice(const Group& group, std::vector<Unit>& units, const std::function<void(const Units&)>& work) {
    std::map<int64_t, Units> slices;
    for (Unit& unit : units) {
      const int64_t place = (index_of(unit) - group.first) * plan_.options.num_candidates + unit.row.key.candidate;
      slices[place / (plan_.options.batch_size * plan_.processes)].push_back(&unit);
    }
    for (const auto& [index, slice] : slices) {
      context_.check();
      work(slice);
    }
  }

  // The results of a model's call on all requests, in parts that its memory holds. A backend that answers with another
  // number of results is at fault, not the samples.
  template <typename Request, typename Call>
  auto ask(const char* who, const std::vector<Request>& requests, const Call& call) {
    decltype(call(std::span(requests))) results;
    const int64_t all = std::ssize(requests);
    in_parts_that_fit(
        all, all,
        [&](int64_t begin, int64_t end) {
          auto part = call(std::span(requests).subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin)));
          require_count(who, std::ssize(part), end - begin);
          std::ranges::move(part, std::back_inserter(results));
        },
        context_);
    return results;
  }

  static void require_count(const char* who, int64_t got, int64_t expected) {
    if (got != expected) {
      throw EngineError(describe(who, fmt::format("{} results", expected), std::to_string(got)));
    }
  }

  void caption_samples(const std::vector<std::span<Unit>>& samples) {
    if (samples.empty()) return;
    const Stopwatch clock;
    std::vector<caption::Request> requests;
    for (const std::span<Unit> sample : samples) {
      requests.push_back({originals_.at(sample.front().sample), sample.front().sample->id, 0, {}, plan_.examples});
    }
    auto results = ask("captioner", requests, [&](auto part) { return captioner_.caption(part, sampling_, context_); });
    const double share = clock.seconds() / static_cast<double>(samples.size() * samples.front().size());
    Units filled;
    for (size_t i = 0; i < samples.size(); ++i) {
      if (results[i].ok()) require_count("captioner", std::ssize(results[i].value()), std::ssize(samples[i]));
      for (Unit& unit : samples[i]) {
        if (unit.row.text) continue;
        if (!results[i].ok()) {
          recorder_.record({unit.sample->id, Direction::kI2T2I, -1, "text", results[i].failure()});
          break;
        }
        set_caption(unit.row, results[i].value()[static_cast<size_t>(unit.row.key.candidate)], share);
        filled.push_back(&unit);
      }
    }
    commit(filled);
  }

  // Pictures of those of the slice that are `ready`, by their prompts.
  void draw(const Units& slice, const std::function<std::string(const Unit&)>& prompt,
            const std::function<bool(const Unit&)>& ready) {
    const auto lacks_image = [&](const Unit* unit) { return ready(*unit) && !unit->row.image; };
    if (std::ranges::none_of(slice, lacks_image)) return;
    const Stopwatch clock;
    Units batch;
    std::vector<generate::Request> requests;
    for (Unit* unit : slice) {
      if (!ready(*unit) || (!pictures_repeat_ && unit->row.image)) continue;
      batch.push_back(unit);
      requests.push_back({prompt(*unit), unit->sample->id, unit->row.key.candidate, {}});
    }
    auto results =
        ask("generator", requests, [&](auto part) { return generator_.generate(part, generation_, context_); });
    const double share = clock.seconds() / static_cast<double>(batch.size());
    keep(batch, results, "image", &CandidateRow::image, [&](Unit& unit, generate::Picture& picture) {
      unit.row.image = store_.save_image(unit.row.key, picture.image);
      unit.row.image_seed = picture.seed;
      unit.row.flagged = picture.flagged;
      unit.row.truncated_tokens = picture.truncated_tokens;
      unit.row.image_seconds = share;
    });
  }

  // Captions of the pictures that the slice has.
  void read(const Units& slice) {
    const auto lacks_text = [](const Unit* unit) { return unit->row.image && !unit->row.text; };
    if (std::ranges::none_of(slice, lacks_text)) return;
    const Stopwatch clock;
    Units batch;
    std::vector<caption::Request> requests;
    for (Unit* unit : slice) {
      if (!unit->row.image || (!captions_repeat_ && unit->row.text)) continue;
      recorder_.attempt({unit->sample->id, unit->row.key.direction, unit->row.key.candidate, "text", ""}, [&] {
        requests.push_back(
            {store_.load_image(*unit->row.image), unit->sample->id, unit->row.key.candidate, {}, plan_.examples});
        batch.push_back(unit);
      });
    }
    if (batch.empty()) return;
    auto results = ask("captioner", requests, [&](auto part) { return captioner_.caption(part, reading_, context_); });
    const double share = clock.seconds() / static_cast<double>(batch.size());
    keep(batch, results, "text", &CandidateRow::text, [&](Unit& unit, const std::vector<caption::Caption>& captions) {
      require_count("captioner", std::ssize(captions), 1);
      set_caption(unit.row, captions.front(), share);
    });
  }

  // Stores the results of those of the batch whose rows lack the member; failures are recorded at `stage`.
  template <typename Value, typename Fill>
  void keep(const Units& batch, std::vector<Result<Value>>& results, const char* stage,
            std::optional<std::string> CandidateRow::*member, const Fill& fill) {
    Units filled;
    for (size_t i = 0; i < batch.size(); ++i) {
      const CandidateRow& row = batch[i]->row;
      if (row.*member) continue;
      if (results[i].ok()) {
        fill(*batch[i], results[i].value());
        filled.push_back(batch[i]);
      } else {
        recorder_.record({row.key.sample, row.key.direction, row.key.candidate, stage, results[i].failure()});
      }
    }
    commit(filled);
  }

  static void set_caption(CandidateRow& row, const caption::Caption& caption, double seconds) {
    row.text = caption.text;
    row.token_ids = caption.token_ids;
    row.log_probability = caption.log_probability;
    row.text_seconds = seconds;
  }

  void commit(const Units& units) {
    std::vector<CandidateRow> rows;
    for (const Unit* unit : units) rows.push_back(unit->row);
    store_.put_candidates(rows);
    Observer* const observer = context_.observer();
    for (const CandidateRow& row : rows) {
      if (observer == nullptr || !row.complete()) continue;
      observer->on_candidate({name(row.key.direction), row.key.sample, row.key.candidate, *row.text, *row.image});
    }
  }

  const Plan& plan_;
  const data::Dataset& dataset_;
  caption::Captioner& captioner_;
  generate::Generator& generator_;
  Store& store_;
  Context context_;
  Recorder recorder_;
  // Whether results come again when they are asked for again. Then a batch of which a part is missing is computed as a
  // whole, as the plan cut it; else only what is missing.
  bool captions_repeat_, pictures_repeat_;
  caption::DecodingOptions sampling_, reading_;
  generate::GenerationOptions generation_;
  std::vector<SampleRow> stored_;  // in the plan's order
  std::map<const data::Sample*, image::Image> originals_;
  std::set<const data::Sample*> unreadable_;
};

}  // namespace

Summary execute(const Plan& plan, const data::Dataset& dataset, caption::Captioner& captioner,
                generate::Generator& generator, Store& store, const Context& context) {
  return Executor(plan, dataset, captioner, generator, store, context).run();
}

}  // namespace readback::roundtrip
