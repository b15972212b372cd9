using Fude.Models;
using Fude.Tensors;

namespace Fude.Generation;

/// <summary>Steps any number of requests through one model: they join and leave between two steps.</summary>
/// <param name="model">The model.</param>
/// <param name="ops">Its device.</param>
/// <param name="prefillTokens">Prompt tokens a step reads at most, so that a long prompt neither fills the memory nor holds up
/// others.</param>
internal sealed class DecodingLoop(LanguageModel model, IOps ops, int prefillTokens)
{
    private readonly List<(Decoding Decoding, int LogitRows)> _active = [];
    private readonly BatchBuilder _batch = new();
    private readonly DecodingScratch _scratch = new(model.Config.Vocabulary);

    /// <summary>Takes part from the next step on.</summary>
    public void Join(Decoding decoding) => _active.Add((decoding, 0));

    /// <summary>Gives up a request, done or not.</summary>
    public void Leave(Decoding decoding)
    {
        _active.RemoveAll(active => active.Decoding == decoding);
        decoding.Dispose();
    }

    /// <summary>One forward pass, and a token for every text that has read its prompt. What is done leaves by <see
    /// cref="Leave"/>.</summary>
    /// <param name="failed">Told of a request that could not be run or whose logits could not be made a token of; null lets the exception
    /// out.</param>
    public void Step(Action<Decoding, Exception>? failed = null)
    {
        try
        {
            Step(0, _active.Count, failed);
        }
        catch (Exception) when (failed is not null)      // of the model or the device: no text has moved on
        {
            StepOneByOne(failed);
        }
    }

    // Only what cannot be run by itself fails.
    private void StepOneByOne(Action<Decoding, Exception> failed)
    {
        for (int i = 0; i < _active.Count; i++)
        {
            if (_active[i].Decoding.IsDone) continue;
            try
            {
                Step(i, 1, failed);
            }
            catch (Exception e)
            {
                failed(_active[i].Decoding, e);
            }
        }
    }

    private void Step(int first, int count, Action<Decoding, Exception>? failed)
    {
        _batch.Clear();
        int prefill = prefillTokens;
        for (int i = first; i < first + count; i++)
        {
            Decoding decoding = _active[i].Decoding;
            if (decoding.IsDone) continue;
            int rows = _batch.LogitRows;
            prefill = Math.Max(0, prefill - decoding.Plan(_batch, prefill));
            _active[i] = (decoding, _batch.LogitRows - rows);
        }
        if (_batch.Count == 0) return;
        Tensor logits = model.Run(ops, _batch.Build());
        ReadOnlySpan<float> numbers = _batch.LogitRows > 0 ? ops.Read(logits) : default;
        for (int i = first, row = 0; i < first + count; i++)
        {
            (Decoding decoding, int rows) = _active[i];
            if (rows == 0 || decoding.IsDone) continue;
            ReadOnlySpan<float> own = numbers.Slice(row * logits.Columns, rows * logits.Columns);
            row += rows;
            try
            {
                decoding.Accept(own, _scratch);
            }
            catch (Exception e) when (failed is not null)
            {
                failed(decoding, e);
            }
        }
    }
}
