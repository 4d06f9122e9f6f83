#include "readback/checkpoint/published.h"

namespace readback::checkpoint {

namespace {

using nlohmann::json;

json merged(json whole, const json& part) {
  whole.update(part);
  return whole;
}

json pipeline(const char* name, const char* scheduler) {
  return {{"_class_name", name},
          {"scheduler", {"diffusers", scheduler}},
          {"text_encoder", {"transformers", "CLIPTextModel"}},
          {"tokenizer", {"transformers", "CLIPTokenizer"}},
          {"unet", {"diffusers", "UNet2DConditionModel"}},
          {"vae", {"diffusers", "AutoencoderKL"}}};
}

json scheduler(const char* name) {
  return {{"_class_name", name},
          {"beta_end", 0.012},
          {"beta_schedule", "scaled_linear"},
          {"beta_start", 0.00085},
          {"clip_sample", false},
          {"num_train_timesteps", 1000},
          {"prediction_type", "epsilon"},
          {"skip_prk_steps", true},
          {"set_alpha_to_one", false},
          {"steps_offset", 1},
          {"trained_betas", nullptr}};
}

// OpenAI's CLIP ViT-L/14 reads the texts of 1.x, and is the first reader of XL.
json clip_large() {
  return {{"architectures", {"CLIPTextModel"}},
          {"bos_token_id", 0},
          {"eos_token_id", 2},
          {"hidden_act", "quick_gelu"},
          {"hidden_size", 768},
          {"intermediate_size", 3072},
          {"layer_norm_eps", 1e-5},
          {"max_position_embeddings", 77},
          {"model_type", "clip_text_model"},
          {"num_attention_heads", 12},
          {"num_hidden_layers", 12},
          {"pad_token_id", 1},
          {"projection_dim", 768},
          {"vocab_size", 49408}};
}

json unet() {
  return {{"_class_name", "UNet2DConditionModel"},
          {"act_fn", "silu"},
          {"center_input_sample", false},
          {"downsample_padding", 1},
          {"flip_sin_to_cos", true},
          {"freq_shift", 0},
          {"in_channels", 4},
          {"layers_per_block", 2},
          {"mid_block_scale_factor", 1},
          {"norm_eps", 1e-5},
          {"norm_num_groups", 32},
          {"out_channels", 4}};
}

json unet_of_four_levels() {
  return merged(
      unet(),
      {{"block_out_channels", {320, 640, 1280, 1280}},
       {"down_block_types", {"CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"}},
       {"up_block_types", {"UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"}}});
}

json vae(int64_t side, double scaling_factor) {
  const char *down = "DownEncoderBlock2D", *up = "UpDecoderBlock2D";
  return {{"_class_name", "AutoencoderKL"},
          {"act_fn", "silu"},
          {"block_out_channels", {128, 256, 512, 512}},
          {"down_block_types", {down, down, down, down}},
          {"in_channels", 3},
          {"latent_channels", 4},
          {"layers_per_block", 2},
          {"norm_num_groups", 32},
          {"out_channels", 3},
          {"sample_size", side},
          {"scaling_factor", scaling_factor},
          {"up_block_types", {up, up, up, up}}};
}

}  // namespace

Configurations stable_diffusion_1() {
  return {{"model_index.json", pipeline("StableDiffusionPipeline", "PNDMScheduler")},
          {"scheduler/scheduler_config.json", scheduler("PNDMScheduler")},
          {"text_encoder/config.json", clip_large()},
          {"unet/config.json", merged(unet_of_four_levels(),
                                      {{"attention_head_dim", 8}, {"cross_attention_dim", 768}, {"sample_size", 64}})},
          {"vae/config.json", vae(512, 0.18215)}};
}

Configurations stable_diffusion_2() {
  return {
      {"model_index.json", pipeline("StableDiffusionPipeline", "DDIMScheduler")},
      {"scheduler/scheduler_config.json", merged(scheduler("DDIMScheduler"), {{"prediction_type", "v_prediction"}})},
      {"text_encoder/config.json", merged(clip_large(), {{"hidden_act", "gelu"},
                                                         {"hidden_size", 1024},
                                                         {"intermediate_size", 4096},
                                                         {"num_attention_heads", 16},
                                                         {"num_hidden_layers", 23},
                                                         {"projection_dim", 512}})},
      {"unet/config.json", merged(unet_of_four_levels(), {{"attention_head_dim", {5, 10, 20, 20}},
                                                          {"cross_attention_dim", 1024},
                                                          {"sample_size", 96},
                                                          {"upcast_attention", true},
                                                          {"use_linear_projection", true}})},
      {"vae/config.json", vae(768, 0.18215)}};
}

Configurations stable_diffusion_xl() {
  json index = pipeline("StableDiffusionXLPipeline", "EulerDiscreteScheduler");
  index["text_encoder_2"] = {"transformers", "CLIPTextModelWithProjection"};
  index["tokenizer_2"] = {"transformers", "CLIPTokenizer"};
  index["force_zeros_for_empty_prompt"] = true;
  json unet_config =
      merged(unet(), {{"addition_embed_type", "text_time"},
                      {"addition_time_embed_dim", 256},
                      {"attention_head_dim", {5, 10, 20}},
                      {"block_out_channels", {320, 640, 1280}},
                      {"cross_attention_dim", 2048},
                      {"down_block_types", {"DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"}},
                      {"projection_class_embeddings_input_dim", 2816},
                      {"sample_size", 128},
                      {"transformer_layers_per_block", {1, 2, 10}},
                      {"up_block_types", {"CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"}},
                      {"use_linear_projection", true}});
  return {
      {"model_index.json", index},
      {"scheduler/scheduler_config.json", merged(scheduler("EulerDiscreteScheduler"), {{"interpolation_type", "linear"},
                                                                                       {"sample_max_value", 1.0},
                                                                                       {"timestep_spacing", "leading"},
                                                                                       {"use_karras_sigmas", false}})},
      {"text_encoder/config.json", clip_large()},
      {"text_encoder_2/config.json", merged(clip_large(), {{"architectures", {"CLIPTextModelWithProjection"}},
                                                           {"hidden_act", "gelu"},
                                                           {"hidden_size", 1280},
                                                           {"intermediate_size", 5120},
                                                           {"num_attention_heads", 20},
                                                           {"num_hidden_layers", 32},
                                                           {"projection_dim", 1280}})},
      {"unet/config.json", unet_config},
      {"vae/config.json", merged(vae(1024, 0.13025), {{"force_upcast", true}})}};
}

Configurations blip(bool large, int64_t image_size) {
  const json vision = {{"hidden_act", "gelu"},
                       {"hidden_size", large ? 1024 : 768},
                       {"image_size", image_size},
                       {"intermediate_size", large ? 4096 : 3072},
                       {"layer_norm_eps", 1e-5},
                       {"model_type", "blip_vision_model"},
                       {"num_attention_heads", large ? 16 : 12},
                       {"num_hidden_layers", large ? 24 : 12},
                       {"patch_size", 16}};
  const json text = {{"bos_token_id", 30522},
                     {"encoder_hidden_size", large ? 1024 : 768},
                     {"eos_token_id", 2},
                     {"hidden_act", "gelu"},
                     {"hidden_size", 768},
                     {"intermediate_size", 3072},
                     {"is_decoder", true},
                     {"layer_norm_eps", 1e-12},
                     {"max_position_embeddings", 512},
                     {"model_type", "blip_text_model"},
                     {"num_attention_heads", 12},
                     {"num_hidden_layers", 12},
                     {"pad_token_id", 0},
                     {"sep_token_id", 102},
                     {"vocab_size", 30524}};
  return {{"config.json",
           {{"architectures", {"BlipForConditionalGeneration"}},
            {"image_text_hidden_size", 256},
            {"model_type", "blip"},
            {"projection_dim", 512},
            {"text_config", text},
            {"vision_config", vision}}},
          {"preprocessor_config.json",
           {{"do_normalize", true},
            {"do_rescale", true},
            {"do_resize", true},
            {"image_mean", {0.48145466, 0.4578275, 0.40821073}},
            {"image_processor_type", "BlipImageProcessor"},
            {"image_std", {0.26862954, 0.26130258, 0.27577711}},
            {"resample", 3},
            {"rescale_factor", 0.00392156862745098},
            {"size", {{"height", image_size}, {"width", image_size}}}}}};
}

}  // namespace readback::checkpoint
