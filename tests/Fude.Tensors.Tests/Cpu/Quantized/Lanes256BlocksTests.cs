using System.Runtime.Intrinsics.X86;

namespace Fude.Tensors.Tests;

/// <summary>Processors with AVX2 but without AVX-VNNI, whatever this one has.</summary>
public sealed unsafe class Lanes256BlocksTests
{
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Byte_dot_products_without_VNNI_are_exact_up_to_the_largest_bytes(bool isWide)
    {
        Assert.SkipUnless(Avx2.IsSupported, "This processor has no AVX2.");
        int* sums = stackalloc int[16];
        byte* u = stackalloc byte[64];
        sbyte* s = stackalloc sbyte[64];
        Random random = new(7);
        for (int round = 0; round < 200; round++)
        {
            int most = isWide ? 255 : 127;
            for (int i = 0; i < 64; i++)
            {
                // The first rounds hold nothing but extremes.
                u[i] = (byte)(round < 20 && random.Next(4) > 0 ? most : random.Next(most + 1));
                s[i] = (sbyte)(round < 20 ? round % 2 == 0 ? 127 : -127 : random.Next(-127, 128));
            }
            for (int lane = 0; lane < 16; lane++) sums[lane] = random.Next(-1_000_000, 1_000_000);
            Lanes256 found = Lanes256.DotWithoutVnni(*(Lanes256*)sums, *(Lanes256*)u, *(Lanes256*)s, isWide);
            for (int lane = 0; lane < 16; lane++)
            {
                int expected = sums[lane];
                for (int i = 4 * lane; i < (4 * lane) + 4; i++) expected += u[i] * s[i];
                Assert.Equal(expected, ((int*)&found)[lane]);
            }
        }
    }
}
