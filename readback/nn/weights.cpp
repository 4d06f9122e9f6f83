#include "readback/nn/weights.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <cmath>

#include "readback/base/error.h"
#include "readback/base/memory.h"
#include "readback/base/random.h"

namespace readback::nn {

namespace {
constexpr int64_t kSmall = int64_t{1} << 28;  // bytes of a model about which nothing is done
}

struct Weights::Source {
  checkpoint::TensorMap tensors;
  c10::Device device = c10::kCPU;
  c10::ScalarType dtype = at::kFloat;
  std::string where;
  std::optional<uint64_t> seed;
  bool inference = false;
  std::optional<int64_t> room;  // bytes left for matrices; none: enough
  std::optional<AdapterSpec> adapters;
  std::optional<std::string> kept_order;  // prefix of what keeps its order
  int64_t bytes = 0;
  std::map<std::string, at::Tensor> parameters;
  std::set<std::string> used;
  std::vector<std::string> missing, misshapen;
};

Weights::Weights(checkpoint::TensorMap tensors, c10::Device device, c10::ScalarType dtype, std::string where)
    : source_(std::make_shared<Source>()) {
  source_->tensors = std::move(tensors);
  source_->device = device;
  source_->dtype = dtype;
  source_->where = std::move(where);
}

Weights Weights::for_inference(std::optional<int64_t> room) && {
  source_->inference = true;
  if (!source_->device.is_cpu()) return std::move(*this);
  int64_t needed = 0;
  for (const auto& [key, tensor] : source_->tensors) {
    needed += tensor.numel() * static_cast<int64_t>(c10::elementSize(source_->dtype));
  }
  // Some memory is left to activations, and to the cache of the file.
  constexpr int64_t kReserve = int64_t{3} << 29;
  if (!room && needed > kSmall) room = free_memory(source_->device) - kReserve;
  if (room && needed > *room) source_->room = room;
  return std::move(*this);
}

Weights Weights::with_adapters(AdapterSpec spec) && {
  source_->adapters = std::move(spec);
  return std::move(*this);
}

Weights Weights::keeping_order(std::string prefix) && {
  source_->kept_order = std::move(prefix);
  return std::move(*this);
}

Weights Weights::fresh(uint64_t seed, c10::Device device, c10::ScalarType dtype) {
  auto source = std::make_shared<Source>();
  source->seed = seed;
  source->device = device;
  source->dtype = dtype;
  source->where = "a fresh model";
  return Weights(std::move(source), "");
}

Weights Weights::operator[](const std::string& name) const {
  return Weights(source_, prefix_ + name + ".", float32_for_float16_);
}
Weights Weights::float32_for_float16() const { return Weights(source_, prefix_, true); }
c10::ScalarType Weights::dtype() const {
  return float32_for_float16_ && source_->dtype == at::kHalf ? at::kFloat : source_->dtype;
}

bool Weights::has(const std::string& name) const { return source_->tensors.contains(prefix_ + name); }
bool Weights::is_fresh() const { return source_->seed.has_value(); }
bool Weights::is_for_inference() const { return source_->inference; }
void Weights::ignore(const std::string& name) const { source_->used.insert(prefix_ + name); }

void Weights::rename(const std::string& old_name, const std::string& new_name) const {
  auto node = source_->tensors.extract(prefix_ + old_name);
  if (node.empty()) return;
  node.key() = prefix_ + new_name;
  source_->tensors.insert(std::move(node));
}

namespace {

at::Tensor draw(uint64_t seed, const std::string& key, at::IntArrayRef shape, Init init) {
  if (init.kind == Init::Kind::kConstant) return at::full(shape, init.scale, at::kFloat);
  at::Tensor values = at::empty(shape, at::kFloat);
  Random random(seed, Purpose::kWeights, key);
  const std::span<float> span(values.data_ptr<float>(), static_cast<size_t>(values.numel()));
  if (init.kind == Init::Kind::kNormal) {
    random.fill_normal(span);
    return values.mul_(init.scale);
  }
  for (float& value : span) value = static_cast<float>((2 * random.uniform() - 1) * init.scale);
  return values;
}

}  // namespace

at::Tensor Weights::get(const std::string& name, at::IntArrayRef shape, Init init) const {
  const std::string key = prefix_ + name;
  if (const auto known = source_->parameters.find(key); known != source_->parameters.end()) return known->second;
  return hand_out(key, find(key, shape, init));
}

std::pair<at::Tensor, bool> Weights::get_matrix(const std::string& name, at::IntArrayRef shape, Init init) const {
  if (!source_->room) return {get(name, shape, init), false};
  at::Tensor tensor = find(prefix_ + name, shape, init);
  const int64_t bytes = tensor.numel() * static_cast<int64_t>(c10::elementSize(dtype()));
  if (bytes <= *source_->room) {
    *source_->room -= bytes;
    return {hand_out(prefix_ + name, tensor), false};
  }
  source_->bytes += static_cast<int64_t>(tensor.nbytes());
  return {tensor, true};
}

at::Tensor Weights::find(const std::string& key, at::IntArrayRef shape, Init init) const {
  at::Tensor tensor;
  if (source_->seed) {
    tensor = draw(*source_->seed, key, shape, init);
  } else if (const auto found = source_->tensors.find(key); found == source_->tensors.end()) {
    source_->missing.push_back(key);
    tensor = at::zeros(shape, at::TensorOptions(at::kFloat).device(source_->device));
  } else if (found->second.sizes() != shape) {
    source_->used.insert(key);
    source_->misshapen.push_back(fmt::format("{} (expected [{}], got [{}])", key, fmt::join(shape, ", "),
                                             fmt::join(found->second.sizes(), ", ")));
    tensor = at::zeros(shape, at::kFloat);
  } else {
    source_->used.insert(key);
    tensor = std::move(found->second);  // so that what is converted frees what it came from
  }
  return tensor;
}

Adapter Weights::adapter(int64_t in, int64_t out) const {
  if (!source_->adapters || !source_->adapters->targets(prefix_.substr(0, prefix_.size() - 1))) return {};
  const AdapterSpec& spec = *source_->adapters;
  const auto parameter = [&](const std::string& name, at::IntArrayRef shape, Init init) {
    const std::string key = prefix_ + name;
    const auto known = source_->parameters.find(key);
    return known != source_->parameters.end() ? known->second : hand_out(key, draw(spec.seed, key, shape, init));
  };
  return {parameter("lora_A.weight", {spec.rank, in}, Init::uniform(1.0 / std::sqrt(static_cast<double>(in)))),
          parameter("lora_B.weight", {out, spec.rank}, Init::zeros()), spec.alpha / static_cast<double>(spec.rank)};
}

at::Tensor Weights::hand_out(const std::string& key, at::Tensor tensor) const {
  const at::Tensor stored = tensor;
  tensor = tensor.to(source_->device, dtype());
  // Reading a small tensor in a mapped file brings its neighbours to memory, which are packed elsewhere: megabytes with
  // a bias where the file's cache has large pages.
  constexpr size_t kNeighbours = size_t{4} << 20;
  if (source_->inference && tensor.is_same(stored) && tensor.nbytes() <= kNeighbours) tensor = tensor.clone();
  // Convolutions run channels-last, and a checkpoint holds them channels-first.
  const bool keeps_order = source_->kept_order && key.starts_with(*source_->kept_order);
  if (tensor.dim() == 4 && !keeps_order) tensor = tensor.contiguous(at::MemoryFormat::ChannelsLast);
  source_->bytes += static_cast<int64_t>(tensor.nbytes());
  if (!source_->inference) source_->parameters[key] = tensor;
  return tensor;
}

void Weights::finish() const {
  std::vector<std::string> unexpected;
  for (const auto& [key, tensor] : source_->tensors) {
    if (!source_->used.contains(key)) unexpected.push_back(key);
  }
  source_->tensors.clear();
  std::string problems;
  const auto list = [&](const char* title, const std::vector<std::string>& keys) {
    if (keys.empty()) return;
    problems += fmt::format("\n  {} ({}):", title, keys.size());
    for (size_t i = 0; i < keys.size() && i < 20; ++i) problems += "\n    " + keys[i];
    if (keys.size() > 20) problems += fmt::format("\n    … and {} more", keys.size() - 20);
  };
  list("missing", source_->missing);
  list("misshapen", source_->misshapen);
  list("unexpected", unexpected);
  if (!problems.empty()) {
    throw CheckpointError(describe(source_->where, "exactly the tensors of its configuration", problems));
  }
  // What was only there while layers were packed.
  if (source_->inference && source_->bytes > kSmall) return_freed_memory(c10::kCPU);
}

int64_t Weights::bytes() const { return source_->bytes; }

const std::map<std::string, at::Tensor>& Weights::parameters() const { return source_->parameters; }

}  // namespace readback::nn
