/* SPDX-License-Identifier: MIT
 * What happens to each row on its own between two linear maps: residual, norm, activation,
 * rounding. One or a few rows are done by the calling thread; waking others would take longer. */
#include <string.h>

#include "nn/nn.h"

typedef struct rows_job {
    const nib__exec *exec;
    const nib__norm_rows *norm;
    const nib__input *input;
    const nib__output *outputs;
    uint32_t n_outputs, step; /* rows per piece */
    const float *x;           /* to be rounded */
    nib__act act;
    const float *inner, *up; /* act(inner) * up is rounded */
} rows_job;

static uint32_t last_row(const rows_job *job, uint32_t first)
{
    uint32_t m = job->input->m;
    return m - first < job->step ? m : first + job->step;
}

static nib_status run_rows(nib__exec *exec, rows_job *job, size_t cost,
                           void (*task)(void *arg, uint32_t i, void *scratch))
{
    uint32_t m = job->input->m;
    job->exec = exec;
    job->step = nib__exec_rows(exec, m, cost);
    return nib__exec_run(exec, (m + job->step - 1) / job->step, task, job);
}

static void apply_norm(const rows_job *job, const nib__affine *norm, const float *x, float *out)
{
    const nib__kernels *kernels = job->exec->kernels;
    uint32_t n = job->input->k;
    if (norm->w == NULL)
        memcpy(out, x, n * sizeof *x);
    else if (job->norm->kind == NIB__NORM_LAYER)
        kernels->layernorm(x, norm->w, norm->b, n, job->norm->eps, out);
    else
        kernels->rmsnorm(x, norm->w, n, job->norm->eps, out);
}

static void norm_piece(void *arg, uint32_t i, void *scratch)
{
    const rows_job *job = arg;
    const nib__norm_rows *norm = job->norm;
    const nib__kernels *kernels = job->exec->kernels;
    uint32_t n = job->input->k, first = i * job->step;
    for (uint32_t row = first; row < last_row(job, first); row++) {
        float *x = norm->x + (size_t)row * n;
        float *delta = norm->delta != NULL ? norm->delta + (size_t)row * n : NULL;
        bool late = norm->order == NIB__NORM_BEFORE_SUM;
        if (delta != NULL && norm->delta_norm.w != NULL)
            apply_norm(job, &norm->delta_norm, delta, delta);
        if (delta != NULL && !late) kernels->add(delta, n, x);
        apply_norm(job, &norm->norm, x, scratch);
        if (delta != NULL && late) kernels->add(delta, n, x);
        if (norm->order == NIB__NORM_INTO_STREAM) memcpy(x, scratch, n * sizeof *x);
        nib__input_round(job->exec, job->input, job->outputs, job->n_outputs, scratch, row);
    }
}

nib_status nib__norm_run(nib__exec *exec, const nib__norm_rows *norm)
{
    rows_job job = {
        .norm = norm, .input = norm->input, .outputs = norm->outputs, .n_outputs = norm->n_outputs};
    return run_rows(exec, &job, 3 * (size_t)norm->input->k, norm_piece);
}

static void round_piece(void *arg, uint32_t i, void *scratch)
{
    const rows_job *job = arg;
    uint32_t first = i * job->step;
    (void)scratch;
    for (uint32_t row = first; row < last_row(job, first); row++) {
        nib__input_round(job->exec, job->input, job->outputs, job->n_outputs,
                         job->x + (size_t)row * job->input->k, row);
    }
}

nib_status nib__round_run(nib__exec *exec, const float *x, const nib__input *input,
                          const nib__output *outputs, uint32_t n_outputs)
{
    rows_job job = {.x = x, .input = input, .outputs = outputs, .n_outputs = n_outputs};
    return run_rows(exec, &job, input->k, round_piece);
}

static void activate_piece(void *arg, uint32_t i, void *scratch)
{
    const rows_job *job = arg;
    uint32_t n = job->input->k, first = i * job->step;
    for (uint32_t row = first; row < last_row(job, first); row++) {
        const float *x = job->inner + (size_t)row * n;
        const float *up = job->up != NULL ? job->up + (size_t)row * n : NULL;
        /* Not back into x: that would be written to memory, which nobody reads again. */
        job->exec->kernels->activate[job->act](x, up, n, scratch);
        nib__input_round(job->exec, job->input, job->outputs, job->n_outputs, scratch, row);
    }
}

nib_status nib__activate_run(nib__exec *exec, nib__act act, const float *x, const float *up,
                             const nib__input *input, const nib__output *output)
{
    rows_job job = {
        .act = act, .inner = x, .up = up, .input = input, .outputs = output, .n_outputs = 1};
    return run_rows(exec, &job, 4 * (size_t)input->k, activate_piece);
}
