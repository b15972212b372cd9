Console.Error.WriteLine("fude");
return 0;
