Streamhost.main()
