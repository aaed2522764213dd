/* SPDX-License-Identifier: MIT
 * Made by test/oracle/make_fim_golden.py. */
/* clang-format off */
static const char fim_before[] =
    "import math\n\n\ndef area(radius):\n    \"\"\"Of a <circle>.\"\"\"\n    ";
static const char fim_line[] =
    "return math.pi * rad";
static const char fim_after[] =
    "\n\n\nprint(area(2.5))  # na\303\257ve \302\243 \360\237\231\202\n";
static const int32_t fim_qwen_line_last[] = {
    151659, 474, 6888, 1406, 750, 3082, 61022, 982, 262, 4210, 2124, 264, 366, 25857, 29, 14442,
    257, 151661, 1406, 1350, 55702, 7, 17, 13, 20, 593, 220, 671, 94880, 586, 6938, 27484, 198,
    151660, 689, 6888, 24259, 353, 8862};
static const int32_t fim_qwen_prefix[] = {
    151659, 474, 6888, 1406, 750, 3082, 61022, 982, 262, 4210, 2124, 264, 366, 25857, 29, 14442,
    262, 470, 6888, 24259, 353, 8862, 151661, 1406, 1350, 55702, 7, 17, 13, 20, 593, 220, 671,
    94880, 586, 6938, 27484, 198, 151660};
static const int32_t fim_starcoder2_line_last[] = {
    1, 485, 7820, 499, 222, 610, 5978, 45, 6024, 731, 303, 1547, 1436, 331, 350, 7220, 4513, 3012,
    294, 3, 499, 222, 1243, 45, 3793, 45, 55, 51, 58, 509, 244, 607, 5524, 43727, 606, 6644, 134,
    41415, 248, 222, 2, 620, 7820, 51, 1314, 338, 5902};
static const int32_t fim_starcoder2_prefix[] = {
    1, 485, 7820, 499, 222, 610, 5978, 45, 6024, 731, 303, 1547, 1436, 331, 350, 7220, 4513, 3012,
    303, 461, 7820, 51, 1314, 338, 5902, 3, 499, 222, 1243, 45, 3793, 45, 55, 51, 58, 509, 244, 607,
    5524, 43727, 606, 6644, 134, 41415, 248, 222, 2};
static const int32_t fim_refact_line_last[] = {
    1, 465, 7744, 478, 203, 589, 5951, 26, 6006, 711, 284, 1524, 1419, 312, 333, 7207, 4503, 2993,
    275, 3, 478, 203, 1216, 26, 3768, 26, 36, 32, 39, 490, 225, 588, 5499, 43738, 587, 6629, 115,
    41460, 229, 203, 2, 601, 7744, 32, 1295, 319, 5865};
static const int32_t fim_refact_prefix[] = {
    1, 465, 7744, 478, 203, 589, 5951, 26, 6006, 711, 284, 1524, 1419, 312, 333, 7207, 4503, 2993,
    284, 442, 7744, 32, 1295, 319, 5865, 3, 478, 203, 1216, 26, 3768, 26, 36, 32, 39, 490, 225, 588,
    5499, 43738, 587, 6629, 115, 41460, 229, 203, 2};
static const int32_t fim_deepseek_line_last[] = {
    32013, 32016, 1892, 16194, 185, 185, 185, 1551, 3036, 7, 13743, 1772, 185, 315, 8075, 4104, 245,
    1013, 15687, 29, 27969, 185, 251, 32015, 185, 185, 185, 4128, 7, 12181, 7, 17, 13, 20, 1435,
    207, 1494, 10012, 2854, 312, 8761, 23567, 185, 32017, 2125, 16194, 13, 1797, 572, 3318};
static const int32_t fim_deepseek_prefix[] = {
    32013, 32016, 1892, 16194, 185, 185, 185, 1551, 3036, 7, 13743, 1772, 185, 315, 8075, 4104, 245,
    1013, 15687, 29, 27969, 185, 315, 967, 16194, 13, 1797, 572, 3318, 32015, 185, 185, 185, 4128,
    7, 12181, 7, 17, 13, 20, 1435, 207, 1494, 10012, 2854, 312, 8761, 23567, 185, 32017};
static const struct {
    const char *path;
    uint32_t family;
    const int32_t *line_last;
    size_t n_line_last;
    const int32_t *prefix;
    size_t n_prefix;
} fim_golden[] = {
    {"models/qwen2.5-coder-1.5b.gguf", NIB_FIM_QWEN,
     fim_qwen_line_last, sizeof fim_qwen_line_last / 4,
     fim_qwen_prefix, sizeof fim_qwen_prefix / 4},
    {"models/vectors/ggml-vocab-starcoder.gguf", NIB_FIM_STARCODER2,
     fim_starcoder2_line_last, sizeof fim_starcoder2_line_last / 4,
     fim_starcoder2_prefix, sizeof fim_starcoder2_prefix / 4},
    {"models/vectors/ggml-vocab-refact.gguf", NIB_FIM_STARCODER,
     fim_refact_line_last, sizeof fim_refact_line_last / 4,
     fim_refact_prefix, sizeof fim_refact_prefix / 4},
    {"models/vectors/ggml-vocab-deepseek-coder.gguf", NIB_FIM_DEEPSEEK,
     fim_deepseek_line_last, sizeof fim_deepseek_line_last / 4,
     fim_deepseek_prefix, sizeof fim_deepseek_prefix / 4},
};
/* clang-format on */
