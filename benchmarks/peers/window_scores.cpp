// Scores windows of token ids with llama.cpp, each alone: the negative log-likelihood that
// `ingot evaluate` sums, with no tokenizer, no special token and no overlap between windows.
//
//     window_scores MODEL.gguf WINDOWS.i32 TOKENS_OF_A_WINDOW THREADS
//
// prints one line of JSON: the sum over all predictions, and their number.

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <vector>

#include "llama.h"

namespace {

[[noreturn]] void fail(const char *what) {
    std::fprintf(stderr, "window_scores: %s\n", what);
    std::exit(1);
}

std::vector<int32_t> read_tokens(const char *path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) fail("cannot read the windows");
    std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
    const auto *first = reinterpret_cast<const int32_t *>(bytes.data());
    return {first, first + bytes.size() / sizeof(int32_t)};
}

double loss_of(const float *logits, int vocabulary, int next) {
    float largest = logits[0];
    for (int i = 1; i < vocabulary; ++i) largest = std::fmax(largest, logits[i]);
    double sum = 0;
    for (int i = 0; i < vocabulary; ++i) sum += std::exp(double(logits[i]) - largest);
    return std::log(sum) - (double(logits[next]) - largest);
}

double score(llama_context *context, const int32_t *tokens, int count, int vocabulary) {
    llama_memory_clear(llama_get_memory(context), true);
    llama_batch batch = llama_batch_init(count, 0, 1);
    batch.n_tokens = count;
    for (int i = 0; i < count; ++i) {
        batch.token[i] = tokens[i];
        batch.pos[i] = i;
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i] = 1;
    }
    if (llama_decode(context, batch) != 0) fail("llama_decode failed");
    double total = 0;
    for (int i = 0; i + 1 < count; ++i)
        total += loss_of(llama_get_logits_ith(context, i), vocabulary, tokens[i + 1]);
    llama_batch_free(batch);
    return total;
}

}  // namespace

int main(int argc, char **argv) {
    if (argc != 5) fail("give MODEL.gguf WINDOWS.i32 TOKENS_OF_A_WINDOW THREADS");
    const auto tokens = read_tokens(argv[2]);
    const int window = std::atoi(argv[3]);
    llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
    llama_backend_init();
    llama_model *model = llama_model_load_from_file(argv[1], llama_model_default_params());
    if (!model) fail("cannot load the model");
    llama_context_params parameters = llama_context_default_params();
    parameters.n_ctx = parameters.n_batch = window;
    parameters.n_threads = parameters.n_threads_batch = std::atoi(argv[4]);
    llama_context *context = llama_init_from_model(model, parameters);
    if (!context) fail("cannot make a context");
    const int vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(model));
    double total = 0;
    long predictions = 0;
    for (size_t start = 0; start + window <= tokens.size(); start += window) {
        total += score(context, tokens.data() + start, window, vocabulary);
        predictions += window - 1;
    }
    std::printf("{\"loss\": %.9f, \"predictions\": %ld}\n", total, predictions);
}
