using System.Runtime.InteropServices;

namespace Fude.Tensors;

/// <summary>Cosines and sines of the angles of one <see cref="RopeShape"/>, made when first asked for.</summary>
/// <remarks>
/// Angles are float32 products of position and frequency, as in transformers' modelling code, which the models were trained with; their
/// sines are correctly rounded. A row is [cos 0 … cos half−1, sin 0 … sin half−1].
/// </remarks>
internal sealed unsafe class RopeTable : IDisposable
{
    // Beyond 2²⁴ float32 does not tell neighbouring positions apart.
    internal const int LargestPosition = 1 << 24;

    private readonly float[] _unscaled;
    private readonly float[] _frequencies;
    private int _extent;
    private float* _rows;
    private int _first;
    private int _count;
    private int _capacity;

    public RopeTable(RopeShape shape)
    {
        Shape = shape;
        Half = shape.Dimensions / 2;
        _unscaled = new float[Half];
        _frequencies = new float[Half];
        Frequencies(shape.Theta, _unscaled);
        if (shape.Scaling is RopeScaling.Llama3 llama3) ScaleAsLlama3(llama3, _unscaled);
        _unscaled.CopyTo(_frequencies, 0);
    }

    ~RopeTable() => NativeMemory.Free(_rows);

    /// <summary>Whose angles these are.</summary>
    public RopeShape Shape { get; }

    /// <summary>Angles of a position.</summary>
    public int Half { get; }

    /// <summary>Rows of the positions from <paramref name="first"/> to <paramref name="last"/>; valid until the next call.</summary>
    /// <param name="first">The first position.</param>
    /// <param name="last">The last position.</param>
    /// <param name="extent">Length of the text, for dynamic scaling.</param>
    /// <returns>The row of the first position; one row has 2·Half numbers.</returns>
    public float* Rows(int first, int last, int extent)
    {
        bool grown = false;
        if (Shape.Scaling is RopeScaling.Dynamic dynamic)
        {
            // 0 stands for every extent within the training context: frequencies as they are.
            int scaled = extent > dynamic.Context ? extent : 0;
            grown = scaled != 0;
            if (scaled != _extent)
            {
                (_extent, _count) = (scaled, 0);
                if (grown) Frequencies(DynamicTheta(dynamic, extent), _frequencies);
                else _unscaled.CopyTo(_frequencies, 0);
            }
        }
        // Rows begin at position 0, except where every step has new frequencies and needs its own row only.
        int start = grown ? first : 0;
        if (_count == 0 || first < _first || (grown && first > _first + _count)) (_first, _count) = (start, 0);
        int needed = last + 1 - _first;
        if (needed > _count)
        {
            if (needed > _capacity)
            {
                int capacity = (int)Math.Min(Math.Max(needed, Math.Max(64L, _capacity * 2L)), LargestPosition + 1L);
                _rows = (float*)NativeMemory.Realloc(_rows, checked((nuint)capacity * (nuint)Half * 2 * sizeof(float)));
                _capacity = capacity;
            }
            for (int i = _count; i < needed; i++) Fill(_first + i, _rows + (nint)i * 2 * Half);
            _count = needed;
        }
        return _rows + (nint)(first - _first) * 2 * Half;
    }

    public void Dispose()
    {
        NativeMemory.Free(_rows);
        _rows = null;
        _count = _capacity = 0;
        GC.SuppressFinalize(this);
    }

    private void Fill(int position, float* row)
    {
        float place = Shape.Scaling is RopeScaling.Linear linear ? position / linear.Factor : position;
        for (int i = 0; i < Half; i++)
        {
            (double sine, double cosine) = Angles.SinCos(place * _frequencies[i]);
            row[i] = (float)cosine;
            row[Half + i] = (float)sine;
        }
    }

    // 1 / θ^(2i/d), in float32 step by step.
    private void Frequencies(float theta, float[] frequencies)
    {
        for (int i = 0; i < Half; i++)
            frequencies[i] = 1f / (float)Angles.Power(theta, 2f * i / Shape.Dimensions);
    }

    // transformers 4.41, LlamaDynamicNTKScalingRotaryEmbedding: the sequence length is a tensor there, so the rest is float32 too.
    private float DynamicTheta(RopeScaling.Dynamic dynamic, int extent)
    {
        float growth = dynamic.Factor * extent / dynamic.Context - (float)((double)dynamic.Factor - 1);
        return Shape.Theta * (float)Angles.Power(growth, (double)Shape.Dimensions / (Shape.Dimensions - 2));
    }

    // transformers 4.43, _compute_llama3_parameters.
    private static void ScaleAsLlama3(RopeScaling.Llama3 llama3, float[] frequencies)
    {
        float context = llama3.OriginalContext;
        float longest = context / llama3.LowFrequencyFactor, shortest = context / llama3.HighFrequencyFactor;
        for (int i = 0; i < frequencies.Length; i++)
        {
            float frequency = frequencies[i], wavelength = 1f / frequency * (float)(2 * Math.PI);
            float slow = wavelength > longest ? frequency / llama3.Factor : frequency;
            if (wavelength >= shortest && wavelength <= longest)
            {
                float smooth = (1f / wavelength * context - llama3.LowFrequencyFactor)
                    / (llama3.HighFrequencyFactor - llama3.LowFrequencyFactor);
                slow = (1 - smooth) * slow / llama3.Factor + smooth * slow;
            }
            frequencies[i] = slow;
        }
    }
}
