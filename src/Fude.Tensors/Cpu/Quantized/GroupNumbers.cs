using System.Runtime.CompilerServices;

namespace Fude.Tensors;

/// <summary>How a run of 32 numbers of sixteen rows is read into lanes: the one place where int8 kernels differ by format.</summary>
/// <remarks>See <see cref="GroupLayout"/>. All members but the methods are constants to the compiler.</remarks>
internal unsafe interface IGroupNumbers
{
    static virtual int RunsInUnit => 1;

    static virtual int HeaderBytes => 0;

    static abstract int RunBytes { get; }

    /// <summary>The level that stands for 0.</summary>
    static abstract int Offset { get; }

    /// <summary>Whether levels use all eight bits.</summary>
    static virtual bool IsWide => false;

    static virtual bool HasMinimum => false;

    /// <summary>Whether the second sixteen numbers of a run have a scale of their own.</summary>
    static virtual bool HasTwoScales => false;

    /// <summary>Whether it comes from memory, so that what follows should be asked for early.</summary>
    static virtual bool IsFar => true;

    /// <summary>Widens a unit's d, and dmin after them.</summary>
    static virtual void Open<T>(byte* unit, float* header)
        where T : unmanaged, IBlockLanes<T>
    {
    }

    /// <summary>The scales of the sixteen rows; of the first sixteen numbers, where there are two.</summary>
    static virtual T Scale<T>(float* header, byte* run)
        where T : unmanaged, IBlockLanes<T> => T.LoadFloat16((ushort*)run);

    /// <summary>The second sixteen numbers' scales, or the minima, as they are added.</summary>
    static virtual T Second<T>(float* header, byte* run)
        where T : unmanaged, IBlockLanes<T> => T.LoadFloat16((ushort*)run + 16);

    /// <summary>The levels of quads <paramref name="i"/> and <paramref name="i"/> + 4.</summary>
    static abstract void Quads<T>(byte* run, int i, out T quad, out T fourth)
        where T : unmanaged, IBlockLanes<T>;
}

/// <summary>Levels of 4, 5, 6 and 8 bits.</summary>
internal static unsafe class Levels
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Four<T>(byte* vectors, int i, out T quad, out T fourth)
        where T : unmanaged, IBlockLanes<T>
    {
        T both = T.Load((float*)(vectors + (i * 64)));
        (quad, fourth) = (T.LowHalves(both), T.HighHalves(both));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Five<T>(byte* vectors, int i, out T quad, out T fourth)
        where T : unmanaged, IBlockLanes<T>
    {
        Four(vectors, i, out quad, out fourth);
        T fifth = T.Load((float*)(vectors + 256));
        quad = T.Or(quad, T.Bits(fifth, 4 - i, 16));
        fourth = T.Or(fourth, T.Bits(fifth, -i, 16));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Six<T>(byte* vectors, int i, out T quad, out T fourth)
        where T : unmanaged, IBlockLanes<T>
    {
        Four(vectors, i, out quad, out fourth);
        quad = T.Or(quad, T.Bits(T.Load((float*)(vectors + 256)), 4 - (2 * i), 48));
        fourth = T.Or(fourth, T.Bits(T.Load((float*)(vectors + 320)), 4 - (2 * i), 48));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Eight<T>(byte* vectors, int i, out T quad, out T fourth)
        where T : unmanaged, IBlockLanes<T> =>
        (quad, fourth) = (T.Load((float*)(vectors + (i * 64))), T.Load((float*)(vectors + (i * 64) + 256)));
}

/// <summary><see cref="NumberFormat.Q8_0"/>.</summary>
internal readonly unsafe struct GroupQ8Zero : IGroupNumbers
{
    public static int RunBytes => 32 + 512;

    public static int Offset => 128;

    public static bool IsWide => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Quads<T>(byte* run, int i, out T quad, out T fourth)
        where T : unmanaged, IBlockLanes<T> => Levels.Eight(run + 32, i, out quad, out fourth);
}

/// <summary><see cref="NumberFormat.Q4_0"/>.</summary>
internal readonly unsafe struct GroupQ4Zero : IGroupNumbers
{
    public static int RunBytes => 32 + 256;

    public static int Offset => 8;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Quads<T>(byte* run, int i, out T quad, out T fourth)
        where T : unmanaged, IBlockLanes<T> => Levels.Four(run + 32, i, out quad, out fourth);
}

/// <summary><see cref="NumberFormat.Q5_0"/>.</summary>
internal readonly unsafe struct GroupQ5Zero : IGroupNumbers
{
    public static int RunBytes => 32 + 320;

    public static int Offset => 16;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Quads<T>(byte* run, int i, out T quad, out T fourth)
        where T : unmanaged, IBlockLanes<T> => Levels.Five(run + 32, i, out quad, out fourth);
}

/// <summary><see cref="NumberFormat.Q4_1"/>.</summary>
internal readonly unsafe struct GroupQ4One : IGroupNumbers
{
    public static int RunBytes => 64 + 256;

    public static int Offset => 0;

    public static bool HasMinimum => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Quads<T>(byte* run, int i, out T quad, out T fourth)
        where T : unmanaged, IBlockLanes<T> => Levels.Four(run + 64, i, out quad, out fourth);
}

/// <summary><see cref="NumberFormat.Q5_1"/>.</summary>
internal readonly unsafe struct GroupQ5One : IGroupNumbers
{
    public static int RunBytes => 64 + 320;

    public static int Offset => 0;

    public static bool HasMinimum => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Quads<T>(byte* run, int i, out T quad, out T fourth)
        where T : unmanaged, IBlockLanes<T> => Levels.Five(run + 64, i, out quad, out fourth);
}

/// <summary><see cref="NumberFormat.Q4_K"/>: scale d·s and minimum −dmin·m, both exact in float32.</summary>
internal readonly unsafe struct GroupQ4K : IGroupNumbers
{
    public static int RunsInUnit => 8;

    public static int HeaderBytes => 64;

    public static int RunBytes => 32 + 256;

    public static int Offset => 0;

    public static bool HasMinimum => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Open<T>(byte* unit, float* header)
        where T : unmanaged, IBlockLanes<T>
    {
        T.Store(T.LoadFloat16((ushort*)unit), header);
        T.Store(T.Zero - T.LoadFloat16((ushort*)unit + 16), header + 16);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Scale<T>(float* header, byte* run)
        where T : unmanaged, IBlockLanes<T> => T.Load(header) * T.LoadUnsignedBytes(run);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Second<T>(float* header, byte* run)
        where T : unmanaged, IBlockLanes<T> => T.Load(header + 16) * T.LoadUnsignedBytes(run + 16);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Quads<T>(byte* run, int i, out T quad, out T fourth)
        where T : unmanaged, IBlockLanes<T> => Levels.Four(run + 32, i, out quad, out fourth);
}

/// <summary><see cref="NumberFormat.Q5_K"/>: scale d·s and minimum −dmin·m, both exact in float32.</summary>
internal readonly unsafe struct GroupQ5K : IGroupNumbers
{
    public static int RunsInUnit => 8;

    public static int HeaderBytes => 64;

    public static int RunBytes => 32 + 320;

    public static int Offset => 0;

    public static bool HasMinimum => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Open<T>(byte* unit, float* header)
        where T : unmanaged, IBlockLanes<T> => GroupQ4K.Open<T>(unit, header);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Scale<T>(float* header, byte* run)
        where T : unmanaged, IBlockLanes<T> => GroupQ4K.Scale<T>(header, run);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Second<T>(float* header, byte* run)
        where T : unmanaged, IBlockLanes<T> => GroupQ4K.Second<T>(header, run);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Quads<T>(byte* run, int i, out T quad, out T fourth)
        where T : unmanaged, IBlockLanes<T> => Levels.Five(run + 32, i, out quad, out fourth);
}

/// <summary><see cref="NumberFormat.Q6_K"/>: scales d·s of sixteen numbers each, exact in float32.</summary>
internal readonly unsafe struct GroupQ6K : IGroupNumbers
{
    public static int RunsInUnit => 8;

    public static int HeaderBytes => 32;

    public static int RunBytes => 32 + 384;

    public static int Offset => 32;

    public static bool HasTwoScales => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Open<T>(byte* unit, float* header)
        where T : unmanaged, IBlockLanes<T> => T.Store(T.LoadFloat16((ushort*)unit), header);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Scale<T>(float* header, byte* run)
        where T : unmanaged, IBlockLanes<T> => T.Load(header) * T.LoadSignedBytes((sbyte*)run);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Second<T>(float* header, byte* run)
        where T : unmanaged, IBlockLanes<T> => T.Load(header) * T.LoadSignedBytes((sbyte*)run + 16);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Quads<T>(byte* run, int i, out T quad, out T fourth)
        where T : unmanaged, IBlockLanes<T> => Levels.Six(run + 32, i, out quad, out fourth);
}

/// <summary>A run of any format, unpacked: eight quads of bytes whose level 128 stands for 0, scales and second scales or minima in
/// float32. For <see cref="AmxTile"/>, which multiplies signed bytes, the quads are filled with level − offset itself.</summary>
internal readonly unsafe struct Unpacked<TNumbers> : IGroupNumbers
    where TNumbers : struct, IGroupNumbers
{
    public const int Bytes = 512 + 64 + 64;

    public static int RunBytes => Bytes;

    public static int Offset => 128;

    public static bool IsWide => true;

    public static bool HasMinimum => TNumbers.HasMinimum;

    public static bool HasTwoScales => TNumbers.HasTwoScales;

    public static bool IsFar => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Scale<T>(float* header, byte* run)
        where T : unmanaged, IBlockLanes<T> => T.Load((float*)(run + 512));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Second<T>(float* header, byte* run)
        where T : unmanaged, IBlockLanes<T> => T.Load((float*)(run + 576));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Quads<T>(byte* run, int i, out T quad, out T fourth)
        where T : unmanaged, IBlockLanes<T> => Levels.Eight(run, i, out quad, out fourth);

    /// <summary>Unpacks units.</summary>
    /// <param name="units">The first.</param>
    /// <param name="count">Their number.</param>
    /// <param name="target">Receives their runs.</param>
    /// <param name="zero">The level that stands for 0 in them: 128, or 0 for signed bytes.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Fill<T>(byte* units, int count, byte* target, byte zero)
        where T : unmanaged, IBlockLanes<T>
    {
        byte up = unchecked((byte)(zero - TNumbers.Offset));
        float* header = stackalloc float[32];
        for (int unit = 0; unit < count; unit++)
        {
            TNumbers.Open<T>(units, header);
            units += TNumbers.HeaderBytes;
            for (int run = 0; run < TNumbers.RunsInUnit; run++, units += TNumbers.RunBytes, target += Bytes)
            {
                Quads<T>(units, 0, target, up);
                Quads<T>(units, 1, target, up);
                Quads<T>(units, 2, target, up);
                Quads<T>(units, 3, target, up);
                T.Store(TNumbers.Scale<T>(header, units), (float*)(target + 512));
                if (TNumbers.HasMinimum || TNumbers.HasTwoScales) T.Store(TNumbers.Second<T>(header, units), (float*)(target + 576));
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Quads<T>(byte* run, int i, byte* target, byte up)
        where T : unmanaged, IBlockLanes<T>
    {
        TNumbers.Quads(run, i, out T quad, out T fourth);
        if (up != 0)
        {
            quad = T.AddBytes(quad, up);
            fourth = T.AddBytes(fourth, up);
        }
        T.Store(quad, (float*)(target + (i * 64)));
        T.Store(fourth, (float*)(target + (i * 64) + 256));
    }
}
